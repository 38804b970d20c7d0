//! A class for people: as text for a terminal, and as Markdown for the catalog's README files.

use super::words;
use crate::class::notation::write_duration;
use crate::class::{Class, Field, Kind};
use crate::error::one_line;

/// The width of each column on a terminal but the last.
const WIDTHS: [usize; 3] = [20, 30, 18];
/// The width of the last column.
const LAST: usize = 46;

/// The class as text for a terminal.
pub fn text(class: &Class) -> String {
    let mut out = String::new();
    let release = class.release.as_ref().map(|release| format!(", release {release}")).unwrap_or_default();
    line(&mut out, &format!("{}{release}: {}", class.name, class.summary));
    if !class.description.trim().is_empty() {
        out.push('\n');
        class.description.trim().lines().for_each(|text| line(&mut out, text));
    }
    if !class.fields.is_empty() {
        line(&mut out, "\nFields");
        table(&mut out, &rows(&class.fields));
        for field in &class.fields {
            if let Kind::Table { columns, .. } = &field.kind {
                line(&mut out, &format!("\nColumns of {}", field.name));
                table(&mut out, &rows(columns));
            }
        }
    }
    section(
        &mut out,
        "Terminals",
        class
            .terminals
            .iter()
            .map(|terminal| (terminal.name.clone(), format!("{}: {}", words::terminal(terminal), terminal.help))),
    );
    section(
        &mut out,
        "Volumes",
        class.volumes.iter().map(|volume| {
            (volume.name.clone(), format!("{}, {}, at {}", volume.device, volume.filesystem, volume.mount))
        }),
    );
    let files = class.templates.iter().map(|template| (template.target.to_string(), String::new()));
    section(&mut out, "Files that it makes", files);
    let deadline = class.ready.as_ref().map(|ready| in_words(ready.deadline)).unwrap_or_default();
    let probes = words::ready(class);
    section(&mut out, &format!("Ready within {deadline} when"), probes.into_iter().map(|probe| (probe, String::new())));
    if let Some(sections) = words::sections(class) {
        line(&mut out, &format!("\nSections that it takes: {sections}"));
    }
    out
}

/// `1m`.
fn in_words(deadline: std::time::Duration) -> String {
    write_duration(u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX))
}

/// The cells of each field: name, type, default, meaning with the example.
fn rows(fields: &[Field]) -> Vec<[String; 4]> {
    let row = |field: &Field| {
        let example = field.example.as_ref().map(|node| format!("; like {}", words::toml_value(node)));
        let meaning = format!("{}{}", field.help, example.unwrap_or_default());
        [field.name.clone(), words::kind(field), words::default(field), meaning]
    };
    fields.iter().map(row).collect()
}

fn section(out: &mut String, heading: &str, entries: impl Iterator<Item = (String, String)>) {
    let mut heading = Some(format!("\n{heading}"));
    for (name, text) in entries {
        if let Some(heading) = heading.take() {
            line(out, &heading);
        }
        line(out, format!("  {name:<20} {text}").trim_end());
    }
}

/// Rows in columns, with what does not fit in one line in the next ones.
fn table(out: &mut String, rows: &[[String; 4]]) {
    for row in rows {
        let mut cells: Vec<Vec<String>> =
            row.iter().zip(WIDTHS.iter().chain([&LAST])).map(|(cell, width)| wrapped(cell, *width)).collect();
        let lines = cells.iter().map(Vec::len).max().unwrap_or(0);
        cells.iter_mut().for_each(|cell| cell.resize(lines, String::new()));
        for number in 0..lines {
            let mut text = String::from(" ");
            for (cell, width) in cells.iter().zip(WIDTHS.iter().chain([&LAST])) {
                let part = cell.get(number).map(String::as_str).unwrap_or_default();
                text.push_str(&format!(" {part:<width$}"));
            }
            line(out, text.trim_end());
        }
    }
}

/// A text in lines of at most so many characters, broken between words where there are any.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let mut word: Vec<char> = word.chars().collect();
        while let Some(last) = lines.last_mut() {
            let used = last.chars().count();
            let blank = usize::from(used > 0);
            if used + blank + word.len() <= width {
                last.extend(std::iter::repeat_n(' ', blank));
                last.extend(word);
                break;
            }
            if used == 0 {
                let rest = word.split_off(width.min(word.len()));
                last.extend(word);
                word = rest;
            }
            lines.push(String::new());
        }
    }
    lines
}

fn line(out: &mut String, text: &str) {
    // A heading brings its own empty line.
    let (before, text) = text.strip_prefix('\n').map_or(("", text), |text| ("\n", text));
    out.push_str(before);
    out.push_str(&one_line(text));
    out.push('\n');
}

/// The class as Markdown.
pub fn markdown(class: &Class) -> String {
    let mut out = format!("# {}\n\n{}.\n", class.name, class.summary.trim_end_matches('.'));
    if !class.description.trim().is_empty() {
        out.push_str(&format!("\n{}\n", class.description.trim()));
    }
    if let Some(release) = &class.release {
        out.push_str(&format!(
            "\nRelease `{release}` of the class. Settings name it as `appliance.version`, where they name one.\n"
        ));
    }
    if let Some(sections) = words::sections(class) {
        out.push_str(&format!("\nSettings may carry the sections `{}`.\n", sections.replace(", ", "`, `")));
    }
    if !class.fields.is_empty() {
        out.push_str("\n## Fields\n\n");
        markdown_fields(&mut out, &class.fields);
        for field in &class.fields {
            if let Kind::Table { columns, .. } = &field.kind {
                out.push_str(&format!("\n### Columns of `{}`\n\n", field.name));
                markdown_fields(&mut out, columns);
            }
        }
    }
    if !class.terminals.is_empty() {
        out.push_str("\n## Terminals\n\n| terminal | is | meaning |\n|---|---|---|\n");
        for terminal in &class.terminals {
            let cells = [code(&terminal.name), cell(&words::terminal(terminal)), cell(&terminal.help)];
            out.push_str(&format!("| {} |\n", cells.join(" | ")));
        }
    }
    if !class.volumes.is_empty() {
        out.push_str("\n## Volumes\n\n| volume | device | file system | place |\n|---|---|---|---|\n");
        for volume in &class.volumes {
            let place = volume.mount.to_string();
            let cells = [code(&volume.name), code(&volume.device), cell(&volume.filesystem), code(&place)];
            out.push_str(&format!("| {} |\n", cells.join(" | ")));
        }
        out.push_str("\nA volume is formatted when it is blank, and never when it holds anything.\n");
    }
    if !class.templates.is_empty() {
        out.push_str("\n## Files that it makes\n\n| file | owner | mode | when | judged by |\n|---|---|---|---|---|\n");
        for template in &class.templates {
            let when = template.when.as_ref().map_or("always".to_owned(), |when| {
                let not = if when.wanted { "" } else { "not " };
                format!("{not}`{}`", when.name)
            });
            let check = if template.check.is_empty() { "–".to_owned() } else { code(&template.check.join(" ")) };
            let owner = code(&format!("{}:{}", template.owner, template.group));
            let mode = code(&format!("{:04o}", template.mode.bits()));
            out.push_str(&format!(
                "| {} | {owner} | {mode} | {when} | {check} |\n",
                code(&template.target.to_string())
            ));
        }
    }
    if let Some(ready) = &class.ready {
        out.push_str(&format!("\n## Ready\n\nWithin {}, all of this:\n\n", in_words(ready.deadline)));
        words::ready(class).iter().for_each(|probe| out.push_str(&format!("- {probe}\n")));
    }
    out.push_str(&format!(
        "\n## Settings\n\n```console\n$ handoff new {0} -o my-{0}.toml\n$ handoff check my-{0}.toml\n```\n",
        class.name
    ));
    out
}

fn markdown_fields(out: &mut String, fields: &[Field]) {
    out.push_str("| field | type | default | meaning | example |\n|---|---|---|---|---|\n");
    for field in fields {
        let default = words::default(field);
        let default = if field.default_written.is_some() { code(&default) } else { cell(&default) };
        let example = field.example.as_ref().map_or("–".to_owned(), |node| code(&words::toml_value(node)));
        let cells = [code(&field.name), cell(&words::kind(field)), default, cell(&field.help), example];
        out.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
}

/// A text for a cell: what Markdown would read as more than text is escaped, but code stays code.
fn cell(text: &str) -> String {
    let mut out = String::new();
    let mut in_code = false;
    for c in text.chars() {
        in_code ^= c == '`';
        if c == '|' || (!in_code && matches!(c, '*' | '_' | '<' | '[' | ']' | '\\')) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn code(text: &str) -> String {
    let fence = if text.contains('`') { "``" } else { "`" };
    format!("{fence}{}{fence}", text.replace('|', "\\|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_goes_on_in_the_next_line() {
        assert_eq!(wrapped("one two three", 8), ["one two", "three"]);
        assert_eq!(wrapped("abcdefghij x", 4), ["abcd", "efgh", "ij x"]);
        assert_eq!(wrapped("", 4), [""]);
        assert_eq!(wrapped("ab abcdef", 4), ["ab", "abcd", "ef"]);
    }

    #[test]
    fn a_cell_keeps_its_text() {
        assert_eq!(cell("a|b `c_d|e` f_g"), "a\\|b `c_d\\|e` f\\_g");
    }
}
