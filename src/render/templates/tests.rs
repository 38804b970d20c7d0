use super::*;
use proptest::prelude::*;

fn template(text: &str, syntax: Syntax) -> Template<'_> {
    Template { name: "x.j2", text, syntax }
}

fn values() -> Value {
    let bare = |text: &str| Value::from_safe_string(text.to_owned());
    let peer = |name: &str, port: i64| {
        Value::from_pairs([("name", bare(name)), ("note", Value::from("it's")), ("port", Value::from(port))])
    };
    Value::from_pairs([
        ("instance", bare("db-1")),
        ("text", Value::from("it's")),
        ("hush", Value::from("hush$\u{1}")),
        ("mode", bare("http")),
        ("port", Value::from(8080)),
        ("on", Value::from(true)),
        ("unset", Value::from(())),
        ("wait", Value::from(1500)),
        ("big", Value::from(3 << 20)),
        ("ports", Value::from_iter([80, 443])),
        ("names", Value::from_iter(["a", "b"])),
        ("peers", Value::from_iter([peer("a", 1), peer("b", 2)])),
    ])
}

/// What comes out of it, also where `check` refuses it: that is one wall, and this another.
fn rendered(text: &str, syntax: Syntax) -> String {
    render_scanned(&template(text, syntax), &values(), MAX_RENDERED).unwrap()
}

fn refused(text: &str, syntax: Syntax) -> Error {
    let error = render_scanned(&template(text, syntax), &values(), MAX_RENDERED).unwrap_err();
    assert_eq!(error.class().exit_code(), 12);
    assert!(!error.to_string().contains("hush$"), "{error}");
    error
}

#[test]
fn texts_are_quoted_and_safe_values_are_bare() {
    assert_eq!(
        rendered("{{ mode }} {{ port }} {{ on }} {{ text }} {{ 'a b' }}", Syntax::Haproxy),
        r"http 8080 true 'it'\''s' 'a b'"
    );
    let text = "{% for p in peers %}\n  server {{ p.name }}:{{ p.port }} {{ p.note }}\n  {% endfor %}\nend\n";
    assert_eq!(rendered(text, Syntax::Haproxy), "  server a:1 'it'\\''s'\n  server b:2 'it'\\''s'\nend\n");
    assert_eq!(rendered("{% if unset is none and not unset %}{{ 1 + 2 }}{% endif %}", Syntax::Plain), "3");
}

#[test]
fn a_statement_on_its_own_line_leaves_no_line_behind_and_the_last_line_ends() {
    let text = "a\n  {% if on %}\n  b\n  {% endif %}\n  c {% if on %}d{% endif +%}\n";
    assert_eq!(rendered(text, Syntax::Plain), "a\n  b\n  c d\n");
}

#[test]
fn what_is_made_of_a_text_is_a_text() {
    for (expression, expected) in [
        ("text ~ ':' ~ port", "'it''s:8080'"),
        ("mode ~ text", "'httpit''s'"),
        ("text ~ mode", "'it''shttp'"),
        ("mode + text", "'httpit''s'"),
        ("text + mode", "'it''shttp'"),
        ("text * 2", "'it''sit''s'"),
        ("text[1:]", "'t''s'"),
        ("text[2]", "''''"),
        ("mode[0:2]", "'ht'"),
        ("(mode ~ text)[4:]", "'it''s'"),
        ("[text][0]", "'it''s'"),
        ("{'a': text}.a", "'it''s'"),
        ("(text, mode)[0]", "'it''s'"),
        ("text if on", "'it''s'"),
        ("text or mode", "'it''s'"),
        ("mode ~ '-' ~ mode", "'http-http'"),
        ("mode ~ port", "'http8080'"),
        ("mode ~ mode", "httphttp"),
    ] {
        let printed = rendered(&format!("{{{{ {expression} }}}}"), Syntax::Sql);
        assert_eq!(printed, expected, "{expression}");
    }
}

#[test]
fn a_captured_block_is_a_text_too() {
    // `check` refuses these, and no text gets out of them without quotes all the same.
    assert_eq!(rendered("{% set x %}{{ text }}{% endset %}{{ x }}", Syntax::Sql), "'''it''''s'''");
    for text in [
        "{% autoescape true %}{% set x %}{{ text }}{% endset %}{{ x }}{% endautoescape %}",
        "{% autoescape 'html' %}{{ text }}{% endautoescape %}",
        "{% autoescape true %}{% set x = mode ~ text %}{{ x }}{% endautoescape %}",
    ] {
        assert!(refused(text, Syntax::Sql).problem().contains("autoescape"), "{text}");
    }
    assert_eq!(rendered("{% autoescape false %}{{ text }}{% endautoescape %}", Syntax::Sql), "'it''s'");
}

#[test]
fn there_is_no_way_to_other_files_macros_or_builtins() {
    for text in [
        "{% include 'x' %}",
        "{% extends 'x' %}",
        "{% import 'x' as y %}",
        "{% macro x() %}{% endmacro %}",
        "{% block x %}{% endblock %}",
    ] {
        assert!(check(&template(text, Syntax::Plain)).is_err(), "{text}");
        refused(text, Syntax::Plain);
    }
    for expression in
        ["text | safe", "text | e", "range(3)", "text.upper()", "text is safe", "debug()", "text is defined"]
    {
        let text = format!("{{{{ {expression} }}}}");
        refused(&text, Syntax::Plain);
    }
}

#[test]
fn undefined_names_are_refused_wherever_they_stand() {
    for text in [
        "{{ nix }}",
        "{{ peers[0].nix }}",
        "{{ peers[9] }}",
        "{{ peers[9].name }}",
        "{{ nix.nix }}",
        "{% if nix %}{% endif %}",
        "{% if not nix %}{% endif %}",
        "{% if nix is none %}{% endif %}",
        "{% if peers[0].nix is none %}{% endif %}",
        "{% if nix == 1 %}{% endif %}",
        "{% if 1 in nix %}{% endif %}",
        "{% if nix in names %}{% endif %}",
        "{% if on and nix %}{% endif %}",
        "{% for x in nix %}{% endfor %}",
        "{% for x in peers[0].nix %}{% endfor %}",
        "{% for p in peers if p.nix %}{% endfor %}",
        "{{ nix ~ 'a' }}",
        "{{ nix + 1 }}",
        "{{ nix[1:] }}",
        "{{ nix | length }}",
        "{{ nix | seconds }}",
        "{{ nix | join }}",
        "{{ text | scram(nix) }}",
        "{{ text if unset }}",
    ] {
        let error = refused(&format!("one\n{text}"), Syntax::Plain);
        assert_eq!(error.object(), "x.j2 (line 2)", "{text}");
    }
    let error = refused("a\n b {{ nix }} c", Syntax::Plain);
    assert_eq!(error.problem(), "`b {{ nix }} c` names a value that is not there");
}

#[test]
fn only_texts_and_numbers_are_printed() {
    for text in
        ["{{ unset }}", "{{ names }}", "{{ peers[0] }}", "{{ none }}", "{{ [1] }}", "{{ loop }}", "{{ 1e308 * 10 }}"]
    {
        refused(text, Syntax::Plain);
    }
    assert!(refused("{{ unset }}", Syntax::Plain).remedy().contains("`if`"));
}

#[test]
fn a_text_is_only_printed_where_its_quotes_are_quotes() {
    for (syntax, text) in [
        (Syntax::Nginx, "return 200 \"{{ text }}\";"),
        (Syntax::Nginx, "return 200 a{{ text }};"),
        (Syntax::Nginx, "  # {{ text }}"),
        (Syntax::Haproxy, "setenv X \"a {{ text }}\""),
        (Syntax::Haproxy, "setenv X \\{{ text }}"),
        (Syntax::Sql, "SELECT '{{ text }}'"),
        (Syntax::Sql, "SELECT ''{{ text }}''"),
        (Syntax::Sql, "SELECT E{{ text }}"),
        (Syntax::Sql, "-- {{ text }}"),
        (Syntax::Sql, "SELECT \"{{ text }}\""),
        (Syntax::Php, "  // {{ text }}"),
        (Syntax::Php, "echo \"{{ text }}\";"),
        (Syntax::Json, "[\"{{ text }}\"]"),
        (Syntax::Postgresql, "x = '{{ text }}'"),
        (Syntax::Systemd, "Environment=\"A={{ text }}\""),
    ] {
        let error = refused(text, syntax);
        assert!(error.problem().starts_with("a text is printed"), "{text} {error}");
    }
    let bare = "return 200 \"{{ mode }} {{ port }}\"; # {{ mode }}";
    assert_eq!(rendered(bare, Syntax::Nginx), "return 200 \"http 8080\"; # http");
    assert_eq!(rendered("a 'b\\'' {{ text }}", Syntax::Php), "a 'b\\'' 'it\\'s'");
    assert_eq!(rendered("don't\nx={{ text }}", Syntax::Postgresql), "don't\nx='it''s'");
    assert_eq!(rendered("stats auth a:{{ text }}", Syntax::Haproxy), r"stats auth a:'it'\''s'");
}

#[test]
fn errors_name_the_value_and_never_show_it() {
    let error = refused("a\n{{ hush }}", Syntax::Nginx);
    assert_eq!(error.object(), "x.j2 (line 2)");
    assert!(error.problem().starts_with("the value of `hush` holds `$`"), "{error}");
    let error = refused("{{ 'x' ~ hush }}", Syntax::Nginx);
    assert!(error.problem().starts_with("a text in `{{ 'x' ~ hush }}` holds `$`"), "{error}");
    for text in
        ["{{ hush | seconds }}", "{{ hush / 2 }}", "{{ hush - hush }}", "{{ -hush }}", "{{ hush() }}", "{{ hush.x() }}"]
    {
        refused(text, Syntax::Nginx);
    }
    // minijinja's own words for this one repeat both numbers.
    assert!(!refused("{{ port % 0 }}", Syntax::Plain).to_string().contains("8080"));
    let nested = Value::from_pairs([("peers", Value::from_iter([Value::from_pairs([("note", Value::from("a$b"))])]))]);
    let error = render(&template("{{ peers[0].note }}", Syntax::Nginx), &nested, 100).unwrap_err();
    assert!(error.problem().starts_with("the value of `peers[0].note`"), "{error}");
}

#[test]
fn filters_do_what_their_names_say() {
    assert_eq!(rendered("{{ big | mib }} {{ big | kib }} {{ 2000 | seconds }}", Syntax::Plain), "3 3072 2");
    assert_eq!(
        rendered("{{ ports | join(', ') }} {{ names | length }} {{ [mode, 1] | join(':') }}", Syntax::Plain),
        "80, 443 2 http:1"
    );
    assert_eq!(
        rendered("{{ text + ':' + port | text }} {{ on | text }} {{ mode | text }}", Syntax::Sql),
        "'it''s:8080' 'true' 'http'"
    );
    assert_eq!(rendered("{{ port | times(2) }} {{ 3 | times(0.5) }}", Syntax::Plain), "16160 1.5");
    assert_eq!(rendered("{{ text | identifier }}", Syntax::Sql), "\"it's\"");
    assert_eq!(rendered("{{ '50%' | log_format }}", Syntax::Haproxy), "'50%%'");
    assert!(rendered("{{ 'x' | scram('app') }}", Syntax::Sql).starts_with(r"E'SCRAM-SHA-256\x244096:"));
    for text in [
        "{{ wait | seconds }}",
        "{{ text | seconds }}",
        "{{ -1000 | seconds }}",
        "{{ 1.5 | mib }}",
        "{{ unset | mib }}",
        "{{ unset | length }}",
        "{{ unset | text }}",
        "{{ names | text }}",
        "{{ port | length }}",
        "{{ names | join(',') }}",
        "{{ ports | join(';') }}",
        "{{ ports | join(text) }}",
        "{{ ports | join('\\n') }}",
        "{{ text | join }}",
        "{{ unset | join }}",
        "{{ text | identifier }}",
        "{{ text | log_format }}",
        "{{ 'é' | scram('app') }}",
        "{{ text | scram }}",
        "{{ port | scram('app') }}",
        "{{ names | times(2) }}",
        "{{ port | times(names) }}",
        "{{ text | times(2) }}",
        "{{ port | times(nix) }}",
        "{{ 9000000000000000000 | times(2) }}",
    ] {
        refused(text, Syntax::Plain);
    }
}

#[test]
fn the_result_is_limited() {
    let of = |limit| render(&template("{% for x in names %}12345{% endfor %}", Syntax::Plain), &values(), limit);
    assert_eq!(of(10).unwrap(), "1234512345");
    let error = of(9).unwrap_err();
    assert!(error.problem().contains("more than 9 bytes"), "{error}");
}

#[test]
fn a_template_has_an_end_whatever_it_does() {
    let count = Value::from_iter(0..1024);
    let values = Value::from_pairs([
        ("many", count),
        ("text", Value::from("x".repeat(1024))),
        ("word", Value::from_safe_string("x".into())),
        ("unset", Value::from(())),
        ("instance", Value::from("i")),
        // It is only copied, which is all that a test has time for.
        ("verifier", Value::from(scram::verifier("x", "x", "x").unwrap())),
    ]);
    let loops = |depth: usize, inside: &str| {
        format!("{}{inside}{}", "{% for x in many %}".repeat(depth), "{% endfor %}".repeat(depth))
    };
    let doubled = format!("{{% set a = 'x' %}}{}", "{% set a = a + '' + a %}".repeat(40));
    let doubled_names = format!("{{% set a = word + 'x' %}}{}", "{% set a = '' + a + a | text %}".repeat(60));
    for (text, problem) in [
        (loops(2, ""), "steps"),
        (loops(9, ""), "steps"),
        (loops(2, "x"), "more than"),
        (loops(2, "{{ text }}"), "more than"),
        (loops(2, "{% if text + 'x' == text %}y{% endif %}"), "steps"),
        (loops(2, "{% set a = many | join %}"), "steps"),
        (loops(2, "{% set a = verifier | scram('x') %}"), "steps"),
        (doubled.clone(), "steps"),
        (doubled_names, "steps"),
        (format!("{{% set a = 'x' %}}{}{{{{ a }}}}", "{% set a = a + '' + a %}".repeat(22)), "more than"),
        (loops(1, &doubled), "steps"),
    ] {
        let error = render(&template(&text, Syntax::Plain), &values, MAX_RENDERED).unwrap_err();
        assert!(error.object().starts_with("x.j2 (line 1)"), "{error}");
        assert!(error.problem().contains(problem), "{text:.100} {error}");
    }
    // What grows without being paid for is not rendered at all.
    for text in ["{% for x in many * 90000000 %}{% endfor %}", "{% set many = many + many %}{{ many | length }}"] {
        let error = render(&template(text, Syntax::Plain), &values, MAX_RENDERED).unwrap_err();
        assert_eq!(error.class().exit_code(), 12);
    }
}

#[test]
fn a_file_as_large_as_may_be_is_not_too_much_work() {
    let peers =
        Value::from_iter((0..1024).map(|n| Value::from_pairs([("name", Value::from_safe_string(format!("p{n}")))])));
    let values = Value::from_pairs([("peers", peers), ("few", Value::from_iter(0..25))]);
    let text = "{% for a in few %}{% for p in peers %}  server {{ p.name }} {{ p.name }}:80 on {{ p.name }}\n{% endfor %}{% endfor %}";
    let made = render(&template(text, Syntax::Haproxy), &values, MAX_RENDERED).unwrap();
    assert!(made.len() > 700_000, "{}", made.len());
}

#[test]
fn a_line_of_many_texts_is_not_searched_anew_for_each() {
    let values = Value::from_pairs([
        ("many", Value::from_iter(0..40_000)),
        ("text", Value::from("x")),
        ("spaces", Value::from_safe_string(" ".repeat(600_000))),
    ]);
    let text = "{{ spaces }}{% for x in many %}{{ text }} {% endfor %}";
    let begun = std::time::Instant::now();
    assert_eq!(render(&template(text, Syntax::Haproxy), &values, MAX_RENDERED).unwrap().len(), 600_000 + 4 * 40_000);
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}

#[test]
fn check_says_which_names_a_template_expects() {
    let text =
        "{% for p in peers %}{{ p.name }}{{ loop.index }}{% endfor %}{% set a = mode %}{{ a }}{{ terminals.db }}";
    let names = check(&template(text, Syntax::Plain)).unwrap();
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["mode", "peers", "terminals.db"]);
    let error = check(&template("a\n{{ b", Syntax::Plain)).unwrap_err();
    assert_eq!(error.object(), "x.j2 (line 2)");
    assert!(check(&template("a\n{{ b | safe }}", Syntax::Plain)).unwrap_err().remedy().contains("join"));
}

const EXPRESSIONS: &[&str] = &[
    "t",
    "t ~ s",
    "s ~ t",
    "t ~ t",
    "t + s",
    "s + t",
    "t * 3",
    "t[0:]",
    "t[::-1]",
    "(s ~ t)[0:]",
    "[t] | join(',')",
    "[s, t] | join",
    "t | join",
    "[s] | join(t)",
    "t | length",
    "t | seconds",
    "t | kib",
    "t | mib",
    "t | scram('x')",
    "'x' | scram(t)",
    "t | identifier",
    "s | identifier",
    "t | log_format",
    "t if s else t",
    "{'k': t}",
    "[t]",
    "t | log_format | identifier",
    "t | text",
    "s | text",
    "s + t | text",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is done to a text that holds a mark, the mark comes out between quotes, or not at all.
    #[test]
    fn no_filter_or_operator_prints_a_text_without_quotes(
        text in "[ -~\\n\\t]{0,12}", expression in proptest::sample::select(EXPRESSIONS), numbers in any::<bool>(),
    ) {
        let text = if numbers { text } else { format!("\u{2665}{text}") };
        let values = Value::from_pairs([
            ("t", Value::from(text.as_str())),
            ("s", Value::from_safe_string("safe".into())),
            ("instance", Value::from_safe_string("i".into())),
        ]);
        for syntax in [Syntax::Haproxy, Syntax::Nginx, Syntax::Postgresql, Syntax::PgHba, Syntax::Sql, Syntax::Php, Syntax::Json, Syntax::Systemd] {
            let source = format!("{{{{ {expression} }}}}");
            let Ok(printed) = render_scanned(&template(&source, syntax), &values, MAX_RENDERED) else { continue };
            let bare = printed.chars().all(|c| c.is_ascii_alphanumeric());
            let quote = |c: Option<char>| matches!(c, Some('"' | '\''));
            let start = printed.strip_prefix('E').unwrap_or(&printed);
            prop_assert!(bare || (quote(start.chars().next()) && quote(start.chars().next_back())), "{source} {printed}");
            // What is bare is a number, or the safe string; never the text.
            prop_assert!(!bare || printed == "safe" || printed.parse::<usize>().is_ok(), "{source} {printed}");
        }
    }
}
