use super::*;
use proptest::prelude::*;

const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK9BsbrVmuYEIEyemX1gn6lzhaiGKBfXd1D5DB1iEPH6";

fn parse(text: &str) -> Result<TrustedKeys> {
    TrustedKeys::parse("trusted-keys", text.as_bytes())
}

fn problem(line: &str) -> String {
    let error = parse(&format!("# first\n\n{line}\n")).expect_err(line);
    assert_eq!(error.object(), "trusted-keys line 3");
    assert_eq!(error.class(), crate::Class::NotVerified);
    error.problem().to_owned()
}

#[test]
fn comments_and_blank_lines_are_no_keys() {
    let keys = parse("\n# nobody yet\n   \t\n  # indented\r\n").unwrap();
    assert!(keys.is_empty());
    assert!(parse("").unwrap().is_empty());
}

#[test]
fn a_whole_line_is_read() {
    let text = format!(
        "ops@example.net,*@ops.example.net \tNameSpaces=\"git,handoff-*\",valid-after=\"20240101Z\",\
         valid-before=\"203012312359\"  {ED25519} the ops key\r\n"
    );
    let keys = parse(&text).unwrap();
    let key = keys.iter().next().unwrap();
    assert_eq!(key.principal(), "ops@example.net,*@ops.example.net");
    assert_eq!(key.key_type(), "ssh-ed25519");
    assert_eq!(key.place(), "trusted-keys line 1");
    assert_eq!(key.validity(), Validity { after: Some(1_704_067_200), before: Some(1_924_991_940) });
    assert!(key.is_for_settings());
    assert!(key.fingerprint().unwrap().starts_with("SHA256:"));
    assert_eq!(keys.iter().count(), 1);
}

#[test]
fn a_long_word_is_not_repeated_in_full() {
    let long = "x".repeat(4096);
    for line in [
        format!("a {long} {ED25519}"),
        format!("a {long}-cert {ED25519}"),
        format!("a valid-after=\"{long}\" {ED25519}"),
        format!("a namespaces=\"x\" {long} AAAA"),
    ] {
        let error = parse(&line).unwrap_err().to_string();
        assert!(error.len() < 400, "{error}");
    }
}

#[test]
fn two_files_are_one_list_in_order() {
    let mut keys = parse(&format!("a {ED25519}")).unwrap();
    keys.extend(parse(&format!("b {ED25519}\n\"c d\" {ED25519}")).unwrap());
    assert_eq!(keys.iter().map(TrustedKey::principal).collect::<Vec<_>>(), ["a", "b", "c d"]);
}

#[test]
fn a_broken_line_is_an_error_that_names_it() {
    for (line, expected) in [
        ("ops", "is not a line"),
        ("\"ops ssh-ed25519", "is not a line"),
        (ED25519, "no name before the key"),
        ("ops ssh-ed25519", "has no key"),
        ("ops ssh-ed25519 AAAA", "cannot be read"),
        ("ops ssh-ed25519 hello", "cannot be read"),
        ("ops ssh-rsa AAAAC3Nza", "cannot be read"),
        (&format!("ops {ED25519}AAAA"), "cannot be read"),
        (&format!("ops {}", ED25519.replace("ssh-", "sk-ssh-").replace("519 ", "519@openssh.com ")), "cannot be read"),
        (&format!("ops ssh-ed448{}", &ED25519[11..]), "unknown option or key type"),
        (&format!("ops namespaces=\"x\" ssh-ed448{}", &ED25519[11..]), "unknown key type"),
        (&format!("ops restrict {ED25519}"), "unknown option"),
        (&format!("ops cert-authority {ED25519}"), "certificate authority"),
        (&format!("ops namespaces=\"a\",cert-authority {ED25519}"), "certificate authority"),
        (&format!("ops namespaces=a {ED25519}"), "no value in double quotes"),
        (&format!("ops namespaces=\"a {ED25519}"), "no value in double quotes"),
        (&format!("ops namespaces {ED25519}"), "no value in double quotes"),
        (&format!("ops namespaces=\"a\",namespaces=\"b\" {ED25519}"), "twice"),
        (&format!("ops valid-after=\"20240101\",valid-after=\"20250101\" {ED25519}"), "twice"),
        (&format!("ops valid-after=\"20240230\" {ED25519}"), "which is none"),
        (&format!("ops valid-after=\"20250101\",valid-before=\"20240101\" {ED25519}"), "not later"),
        (&format!("ops namespaces=\"a\"x {ED25519}"), "not separated by commas"),
        (&format!("ops namespaces=\"a\", {ED25519}"), "unknown option"),
        ("ops namespaces=\"a\"", "has no key"),
        ("ops namespaces=\"a\" ", "has no key"),
        (&format!("ops\u{1b}[2J {ED25519}"), "not plain text"),
    ] {
        let problem = problem(line);
        assert!(problem.contains(expected), "{line}: {problem}");
    }
    assert!(TrustedKeys::parse("x", b"ops\xff ssh-ed25519 AAAA").is_err());
}

#[test]
fn a_weak_key_is_an_error() {
    // The neutral point.
    let line = "ops ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    assert!(problem(line).contains("weak"), "{}", problem(line));
}

#[test]
fn a_file_has_limits() {
    assert!(parse(&"#".repeat(MAX_TRUSTED_KEYS)).is_ok());
    assert!(parse(&"#".repeat(MAX_TRUSTED_KEYS + 1)).is_err());
    assert!(parse(&"#\n".repeat(MAX_LINES)).is_ok());
    assert!(parse(&"#\n".repeat(MAX_LINES + 1)).is_err());
}

#[test]
fn patterns_are_those_of_openssh() {
    for (list, expected) in [
        ("handoff-settings", true),
        ("handoff", false),
        ("handoff-settings2", false),
        ("Handoff-Settings", false),
        ("*", true),
        ("handoff-*", true),
        ("*settings", true),
        ("*-*-*", false),
        ("h*f-*s", true),
        ("**?", true),
        ("????????????????", true),
        ("???????????????", false),
        ("git,handoff-settings", true),
        ("git,file", false),
        ("*,!handoff-settings", false),
        ("!handoff-settings,*", false),
        ("!handoff-*", false),
        ("!git,*", true),
        ("!git", false),
        ("", false),
        (" handoff-settings", false),
    ] {
        assert_eq!(in_pattern_list(NAMESPACE, list), expected, "{list}");
    }
}

#[test]
fn a_hostile_pattern_takes_no_time() {
    let start = std::time::Instant::now();
    assert!(!matches_pattern(&"a".repeat(1000), &format!("{}b", "*a".repeat(1000))));
    assert!(start.elapsed().as_secs() < 5);
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = TrustedKeys::parse("x", &bytes);
    }

    #[test]
    fn any_line_is_read_without_a_panic(line in "(a|\"a b\")? ?((namespaces|valid-after|x)=?\"?[a-z0-9\\\\,\"]{0,8}\"?,?){0,3} ?(ssh-ed25519|ssh-rsa)? ?\\PC{0,20}") {
        let _ = TrustedKeys::parse("x", line.as_bytes());
    }
}
