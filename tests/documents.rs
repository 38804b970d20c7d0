//! What people read is held against the programs: man pages against the command lines, links against files, examples against
//! the code that takes them.

#![cfg(feature = "operator")]
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, missing_docs)]

use clap::CommandFactory as _;
use handoff::Class as ErrorClass;
use handoff::class::Class;
use handoff::operator::command::Cli;
use handoff::trust::container;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The text of the first block that begins with this fence.
fn block(document: &str, fence: &str) -> String {
    let text = text(document);
    let (_, rest) = text.split_once(&format!("{fence}\n")).expect(fence);
    rest.split("\n```").next().unwrap().to_owned()
}

/// The options of a piece of mdoc, where `Fl k` is `-k` and `Fl Fl key` is `--key`.
fn options_in_page(mdoc: &str) -> BTreeSet<String> {
    let words: Vec<&str> = mdoc.split_whitespace().map(|word| word.trim_start_matches('.')).collect();
    let mut options = BTreeSet::new();
    for three in words.windows(3) {
        match three {
            ["Fl", "Fl", name] => drop(options.insert(format!("--{name}"))),
            [before, "Fl", name] if *before != "Fl" && *name != "Fl" => drop(options.insert(format!("-{name}"))),
            _ => {}
        }
    }
    options
}

/// The commands of a page, each with what is written about it.
fn commands_in_page(mdoc: &str) -> BTreeMap<String, String> {
    let described = mdoc.split(".Sh DESCRIPTION").nth(1).unwrap().split("\n.Sh ").next().unwrap();
    let pieces = described.split("\n.It Cm ").skip(1);
    pieces.map(|piece| (piece.split_whitespace().next().unwrap().to_owned(), piece.to_owned())).collect()
}

fn exit_codes_in_page(mdoc: &str) -> BTreeSet<u8> {
    let section = mdoc.split(".Sh EXIT STATUS").nth(1).unwrap().split("\n.Sh ").next().unwrap();
    section.lines().filter_map(|line| line.strip_prefix(".It ")?.parse().ok()).collect()
}

#[test]
fn the_page_of_the_agent_has_the_commands_and_options_of_its_help() {
    let output = Command::new(env!("CARGO_BIN_EXE_handoff-agent")).arg("help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let page = text("man/handoff-agent.8");

    let not_in_name = |c: char| !c.is_ascii_alphanumeric() && c != '-';
    let options: BTreeSet<String> =
        help.split(not_in_name).filter(|word| word.starts_with("--")).map(str::to_owned).collect();
    assert!(options.len() > 4, "{options:?}");
    assert_eq!(options_in_page(&page), options);

    let listed = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let commands: BTreeSet<String> = listed
        .lines()
        .flat_map(|line| match line.trim().split_once("  ") {
            Some((command, _)) => vec![command.split(' ').next().unwrap().to_owned()],
            None => line.trim().split(", ").map(str::to_owned).collect(),
        })
        .collect();
    assert!(commands.contains("plan") && commands.contains("version"), "{commands:?}");
    assert_eq!(commands_in_page(&page).into_keys().collect::<BTreeSet<_>>(), commands);
}

#[test]
fn the_page_of_the_tool_has_the_commands_and_options_of_its_help() {
    let mut tool = Cli::command();
    tool.build();
    let page = text("man/handoff.1");
    let described = commands_in_page(&page);
    let commands: BTreeSet<String> = tool.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    assert_eq!(described.keys().cloned().collect::<BTreeSet<_>>(), commands);
    // These stand once, at the end.
    let of_all = ["-h", "--help", "-V", "--version"];
    for command in tool.get_subcommands().filter(|command| command.get_name() != "help") {
        let mut options = BTreeSet::new();
        let deeper: Vec<_> = command.get_subcommands().filter(|command| command.get_name() != "help").collect();
        for argument in std::iter::once(command).chain(deeper.iter().copied()).flat_map(clap::Command::get_arguments) {
            options.extend(argument.get_long().map(|name| format!("--{name}")));
            options.extend(argument.get_short().map(|name| format!("-{name}")));
        }
        for deeper in deeper {
            let name = format!("{} {}", command.get_name(), deeper.get_name());
            assert!(described[command.get_name()].contains(&format!(".Cm {name}")), "the page does not have {name}");
        }
        options.retain(|option| !of_all.contains(&option.as_str()));
        assert_eq!(options_in_page(&described[command.get_name()]), options, "{}", command.get_name());
    }
    assert!(of_all.iter().all(|option| options_in_page(&described["help"]).contains(*option)));
}

#[test]
fn the_pages_and_the_readme_have_the_exit_codes() {
    use ErrorClass::{Bug, Invalid, LastGood, NoSettings, NotApplied, NotVerified, Usage};
    let classes = [Bug, Usage, NoSettings, NotVerified, Invalid, NotApplied, LastGood];
    let mut codes: BTreeSet<u8> = classes.iter().map(|class| class.exit_code()).collect();
    codes.insert(0);
    assert_eq!(exit_codes_in_page(&text("man/handoff-agent.8")), codes);
    let readme = text("README.md");
    for code in &codes {
        assert!(readme.contains(&format!("| {code} | ")), "README.md has no exit code {code}");
    }
    // The tool runs on nobody's last good settings.
    codes.remove(&LastGood.exit_code());
    assert_eq!(exit_codes_in_page(&text("man/handoff.1")), codes);
}

#[test]
fn mandoc_finds_nothing_wrong_with_the_pages() {
    for page in ["man/handoff-agent.8", "man/handoff.1"] {
        let output = Command::new("mandoc").args(["-Tlint", "-Wwarning", page]).current_dir(repository()).output();
        let output = output.expect("mandoc is missing; `make deps` installs it");
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && told.is_empty(), "{page}: {told}");
    }
}

fn documents() -> Vec<PathBuf> {
    let mut documents = Vec::new();
    for directory in [repository().to_owned(), repository().join("docs")] {
        let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        documents.extend(files.filter(|path| path.extension().is_some_and(|ending| ending == "md")));
    }
    assert!(documents.len() > 5);
    documents
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap();
            if file.contains("://") || file.is_empty() {
                continue;
            }
            assert!(document.parent().unwrap().join(file).exists(), "{}: {link}", document.display());
        }
    }
}

/// All the code below a directory of the repository.
fn sources(directory: &Path, all: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            all.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_defence_names_a_test_that_exists() {
    let mut all = String::new();
    sources(&repository().join("src"), &mut all);
    sources(&repository().join("tests"), &mut all);
    // Names of tests are sentences: at least three words.
    let security = text("SECURITY.md");
    let is_name = |word: &&str| {
        word.matches('_').count() > 1 && word.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit())
    };
    let names: Vec<&str> = security.split('`').skip(1).step_by(2).filter(is_name).collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        assert!(all.contains(&format!("fn {name}(")), "SECURITY.md: there is no test {name}");
    }
}

#[test]
fn the_settings_of_the_readme_are_good() {
    let settings = block("README.md", "```json");
    let mut child = Command::new(env!("CARGO_BIN_EXE_handoff"))
        .args(["check", "-", "--format", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(settings.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    let said = said.split(": good: ").nth(1).unwrap();
    assert!(text("README.md").contains(&format!("settings.json: good: {said}")), "README.md does not show: {said}");
}

#[test]
fn the_policy_that_is_documented_is_the_default() {
    let default = Class { name: "haproxy".into(), ..Class::default() };
    assert_eq!(Class::parse(block("docs/image.md", "```json").as_bytes()).unwrap(), default);
    let page = text("man/handoff-agent.8");
    let shown = page.split(".Sh POLICY").nth(1).unwrap().split(".Bd -literal -offset indent\n").nth(1).unwrap();
    assert_eq!(Class::parse(shown.split("\n.Ed").next().unwrap().as_bytes()).unwrap(), default);
}

#[test]
fn the_class_that_is_documented_is_built_and_takes_its_new_settings() {
    let directory = tempfile::tempdir().unwrap();
    let class = directory.path().join("greeter");
    fs::create_dir(&class).unwrap();
    fs::write(class.join("class.toml"), block("docs/class.md", "```toml")).unwrap();
    fs::write(class.join("greeter.conf.j2"), block("docs/class.md", "```jinja") + "\n").unwrap();
    for arguments in [["new", "greeter", "-o", "greeter.toml"], ["check", "greeter.toml", "--catalog", "."]] {
        let output = Command::new(env!("CARGO_BIN_EXE_handoff"))
            .args(arguments)
            .env("HANDOFF_CATALOG", directory.path())
            .current_dir(directory.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn the_refusal_that_the_readme_shows_is_the_one_of_new_settings() {
    let directory = tempfile::tempdir().unwrap();
    let handoff = |arguments: &[&str]| {
        let catalog = repository().join("catalog");
        let mut command = Command::new(env!("CARGO_BIN_EXE_handoff"));
        command.args(arguments).env("HANDOFF_CATALOG", catalog).current_dir(directory.path()).output().unwrap()
    };
    let new = String::from_utf8(handoff(&["new", "haproxy"]).stdout).unwrap();
    fs::write(directory.path().join("lb.toml"), new.replace("# mode = \"http\"", "mode = \"udp\"")).unwrap();
    let said = String::from_utf8(handoff(&["check", "lb.toml"]).stderr).unwrap();
    assert!(said.starts_with("handoff: lb.toml: fields.mode") && text("README.md").contains(&said), "{said}");
    let listed = String::from_utf8(handoff(&["catalog", "list"]).stdout).unwrap();
    assert!(text("README.md").contains(&listed), "{listed}");
}

#[test]
fn every_type_and_key_of_a_class_is_documented() {
    use handoff::class::{KEYS, TYPES};
    let page = text("docs/class.md");
    for (name, keys) in TYPES {
        let mut rows = page.lines().filter(|line| line.starts_with(&format!("| `{name}` |")));
        let is_whole = |row: &str| keys.iter().all(|key| row.contains(&format!("`{key}`")));
        assert!(rows.any(is_whole), "docs/class.md: {name} lacks one of {keys:?}");
    }
    for key in KEYS {
        assert!(page.contains(&format!("| `{key}` |")), "docs/class.md lacks {key}");
    }
    for syntax in handoff::render::templates::Syntax::ALL {
        assert!(page.contains(&format!("`{}`", syntax.name())), "docs/class.md lacks {}", syntax.name());
    }
}

#[test]
fn the_test_vector_is_a_container() {
    let document = text("docs/container.md");
    let hex = document.lines().filter(|line| line.starts_with("000000")).map(|line| &line[10..49]);
    let digits: Vec<char> = hex.flat_map(str::chars).filter(char::is_ascii_hexdigit).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    let bytes: Vec<u8> = digits.chunks_exact(2).map(byte).collect();
    assert_eq!(bytes.len(), 61);
    let blob = container::decode("the test vector", &bytes).unwrap();
    assert_eq!((blob.settings(), blob.signature()), (br#"{"version":1}"#.as_slice(), None));
}

#[test]
fn every_crate_and_every_room_is_in_the_architecture() {
    let page = text("ARCHITECTURE.md");
    let manifest: toml::Table = text("Cargo.toml").parse().unwrap();
    for section in ["dependencies", "dev-dependencies"] {
        for name in manifest[section].as_table().unwrap().keys() {
            assert!(page.contains(name), "ARCHITECTURE.md does not say what {name} is for");
        }
    }
    for entry in fs::read_dir(repository().join("src")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let room = if entry.path().is_dir() { format!("| `{name}/` |") } else { format!("| `{name}` |") };
        let is_aside = name == "lib.rs" || name.ends_with("_tests.rs");
        assert!(is_aside || page.contains(&room), "ARCHITECTURE.md does not say what {name} is for");
    }
}

#[test]
fn every_test_program_and_every_variable_of_the_tests_is_in_the_architecture() {
    let page = text("ARCHITECTURE.md");
    let proofs = page.split("\n## Proofs").nth(1).unwrap().split("\n## ").next().unwrap();
    for entry in fs::read_dir(repository().join("tests")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let program = match path.is_dir() {
            true if path.join("main.rs").exists() => format!("`{name}/`"),
            false if name.ends_with(".rs") => format!("`{name}`"),
            _ => continue,
        };
        assert!(proofs.contains(&program), "ARCHITECTURE.md does not say what {program} proves");
    }
    let mut code = String::new();
    sources(&repository().join("tests"), &mut code);
    let variables: BTreeSet<&str> = code
        .split(|c: char| !c.is_ascii_uppercase() && c != '_')
        .filter(|word| word.starts_with("HANDOFF_TEST_") || word.starts_with("HANDOFF_CRASH_"))
        // By these a test knows that it was started by itself.
        .filter(|word| !["HANDOFF_TEST_INSIDE", "HANDOFF_TEST_HOLD"].contains(word))
        .filter(|word| !word.ends_with('_'))
        .collect();
    assert!(variables.len() > 5, "{variables:?}");
    for name in variables {
        assert!(page.contains(&format!("`{name}")), "ARCHITECTURE.md does not say what {name} means");
    }
}
