//! The `[Install]` section of a unit file, as systemd.syntax(7) and systemd.unit(5) describe it.

/// All `[Install]` sections of a unit: of its file, and of its drop-ins after it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Install {
    /// Units that want this one.
    pub wanted_by: Vec<String>,
    /// Units that require it.
    pub required_by: Vec<String>,
    /// Units that uphold it.
    pub upheld_by: Vec<String>,
    /// Its other names.
    pub alias: Vec<String>,
    /// Units that are enabled and disabled together with it.
    pub also: Vec<String>,
    /// The instance that is meant where a template is enabled.
    pub default_instance: Option<String>,
}

impl Install {
    /// Whether there is nothing to install.
    pub fn is_empty(&self) -> bool {
        *self == Install::default()
    }

    /// Reads a unit file or a drop-in and adds what it says. Sections other than `[Install]` are not looked at.
    pub fn read(&mut self, text: &str) {
        let mut inside = false;
        let mut whole = String::new();
        for line in text.lines() {
            let line = line.trim();
            // A comment may stand between the parts of a continued line; it does not end it.
            if line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(part) = line.strip_suffix('\\') {
                whole.push_str(part);
                whole.push(' ');
                continue;
            }
            whole.push_str(line);
            let complete = std::mem::take(&mut whole);
            self.line(complete.trim(), &mut inside);
        }
        self.line(whole.trim(), &mut inside);
    }

    fn line(&mut self, line: &str, inside: &mut bool) {
        if line.starts_with('[') {
            *inside = line == "[Install]";
            return;
        }
        let Some((key, value)) = line.split_once('=').filter(|_| *inside) else { return };
        let value = value.trim();
        let list = match key.trim_end() {
            "WantedBy" => &mut self.wanted_by,
            "RequiredBy" => &mut self.required_by,
            "UpheldBy" => &mut self.upheld_by,
            "Alias" => &mut self.alias,
            "Also" => {
                self.also.extend(words(value));
                return;
            }
            "DefaultInstance" => {
                self.default_instance = (!value.is_empty()).then(|| value.to_owned());
                return;
            }
            _ => return,
        };
        // An empty assignment takes back what was said before. `Also=` alone does not know it.
        if value.is_empty() {
            list.clear();
        }
        list.extend(words(value));
    }
}

fn words(value: &str) -> impl Iterator<Item = String> + '_ {
    value.split_ascii_whitespace().map(|word| word.trim_matches(['"', '\'']).to_owned())
}

/// A unit name in its parts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Parts<'a> {
    /// The whole name.
    pub name: &'a str,
    /// Without `@…` and suffix.
    pub prefix: &'a str,
    /// Between `@` and suffix; `None` where there is no `@`, empty for a template.
    pub instance: Option<&'a str>,
    /// After the last dot.
    pub suffix: &'a str,
}

impl<'a> Parts<'a> {
    /// Takes a name apart. `None` for what cannot be the name of a unit file.
    pub fn of(name: &'a str) -> Option<Self> {
        let good = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.' | b'@' | b':' | b'\\');
        let (stem, suffix) = name.rsplit_once('.')?;
        if stem.is_empty() || stem.starts_with('@') || name.len() > 255 || !name.bytes().all(good) {
            return None;
        }
        let (prefix, instance) = match stem.split_once('@') {
            Some((prefix, instance)) => (prefix, Some(instance)),
            None => (stem, None),
        };
        Some(Parts { name, prefix, instance, suffix })
    }

    /// Whether it is a template, from which instances are made.
    pub fn is_template(&self) -> bool {
        self.instance == Some("")
    }

    /// The name with another instance.
    pub fn with_instance(&self, instance: &str) -> String {
        format!("{}@{instance}.{}", self.prefix, self.suffix)
    }

    /// A text of the `[Install]` section with its specifiers filled in; `None` if it has one that is not known.
    pub fn expand(&self, text: &str) -> Option<String> {
        let mut out = String::with_capacity(text.len());
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            match chars.next()? {
                '%' => out.push('%'),
                'n' => out.push_str(self.name),
                'N' => out.push_str(self.name.rsplit_once('.').map_or(self.name, |(stem, _)| stem)),
                'p' | 'P' => out.push_str(self.prefix),
                'i' | 'I' => out.push_str(self.instance.unwrap_or("")),
                'j' | 'J' => out.push_str(self.prefix.rsplit_once('-').map_or(self.prefix, |(_, last)| last)),
                _ => return None,
            }
        }
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_install_section_counts_and_an_empty_value_resets() {
        let mut install = Install::default();
        install.read(
            "[Unit]\nWantedBy=no.target\n[Install]\n# comment\nWantedBy = a.target \\\n; between\n  b.target\nAlias=x.service\n\
             Alias=\nAlias=\"y.service\"\nAlso=s.socket\nDefaultInstance=one\n[Service]\nRequiredBy=no.target\n",
        );
        assert_eq!(install.wanted_by, ["a.target", "b.target"]);
        assert_eq!(install.alias, ["y.service"]);
        assert_eq!(install.also, ["s.socket"]);
        assert_eq!(install.default_instance.as_deref(), Some("one"));
        assert!(install.required_by.is_empty());
        install.read("[Install]\nWantedBy=\nRequiredBy=c.target");
        assert!(install.wanted_by.is_empty());
        assert_eq!(install.required_by, ["c.target"]);
    }

    #[test]
    fn a_file_that_ends_in_a_continued_line_is_read_whole() {
        let mut install = Install::default();
        install.read("[Install]\nWantedBy=a.target \\");
        assert_eq!(install.wanted_by, ["a.target"]);
    }

    #[test]
    fn specifiers_are_those_of_the_unit_name() {
        let parts = Parts::of("foo-bar@tty1.service").unwrap();
        assert_eq!(parts.expand("%p|%i|%n|%N|%j|%%").unwrap(), "foo-bar|tty1|foo-bar@tty1.service|foo-bar@tty1|bar|%");
        assert_eq!(parts.expand("%b"), None);
        assert_eq!(parts.expand("%"), None);
        assert!(Parts::of("a@.service").unwrap().is_template());
        assert!(Parts::of("../a.service").is_none());
        assert!(Parts::of("a").is_none());
    }
}
