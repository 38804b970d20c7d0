//! Who this guest is: its name, its identity, and where and how it speaks.

mod hosts;
mod machine;

pub use machine::{identity_of, remove};

use super::Context;
use crate::error::{Error, Result};
use crate::guest::{GuestPath, Kind, Node};
use crate::plan::Desired;

/// Puts host name, `/etc/hosts`, machine identity, time zone and locale.
///
/// # Errors
/// The guest does not have the time zone; a file that shall be edited is none.
pub fn render(context: &Context<'_>, desired: &mut Desired) -> Result<()> {
    if let Some(hostname) = &context.settings.hostname {
        desired.file(GuestPath::of("/etc/hostname"), format!("{hostname}\n"), 0o644)?;
    }
    hosts::render(context, desired)?;
    machine::render(context, desired)?;
    timezone(context, desired)?;
    locale(context, desired)
}

fn is_debian(context: &Context<'_>) -> Result<bool> {
    Ok(context.guest.kind(&GuestPath::of("/etc/debian_version"))?.is_some())
}

fn timezone(context: &Context<'_>, desired: &mut Desired) -> Result<()> {
    let Some(zone) = &context.settings.timezone else { return Ok(()) };
    let file = GuestPath::of("/usr/share/zoneinfo").join(zone.as_str())?;
    // Without the zone database a link to nowhere means UTC, so this one zone is always there.
    if zone.as_str() != "UTC" && context.guest.kind(&file)? != Some(Kind::File) {
        return Err(Error::invalid(
            "timezone",
            format_args!("the guest has no {file}"),
            "write the name of a zone, or add the package tzdata to the image",
        ));
    }
    desired.link(GuestPath::of("/etc/localtime"), file.as_str())?;
    // The second place, which Debian's packages read.
    let name = GuestPath::of("/etc/timezone");
    if is_debian(context)? || context.guest.kind(&name)?.is_some() {
        desired.file(name, format!("{zone}\n"), 0o644)?;
    }
    Ok(())
}

fn locale(context: &Context<'_>, desired: &mut Desired) -> Result<()> {
    let Some(locale) = &context.settings.locale else { return Ok(()) };
    let debian = GuestPath::of("/etc/default/locale");
    // Newer Debian has a link there, to the file of everybody else.
    let old = is_debian(context)? && !matches!(context.guest.node(&debian)?, Some(Node::Link(_)));
    let file = if old { debian } else { GuestPath::of("/etc/locale.conf") };
    desired.file(file, format!("LANG={locale}\n"), 0o644)
}

#[cfg(test)]
mod tests {
    use crate::guest::{GuestPath, Node, Tree, View};
    use crate::render::bench::Bench;
    use crate::settings::{Hostname, Locale, Settings, Timezone};

    fn node(bench: &Bench, path: &str) -> Option<Node> {
        bench.tree.node(&GuestPath::of(path)).unwrap()
    }

    #[test]
    fn a_zone_must_exist_and_utc_always_does() {
        let zone = |text: &str| Settings { timezone: Some(Timezone::parse(text).unwrap()), ..Settings::default() };
        let mut bench = Bench::new(Tree::new().with("/usr/share/zoneinfo/Europe/Paris", "TZif"));
        bench.apply(&zone("Europe/Paris"));
        assert_eq!(node(&bench, "/etc/localtime"), Some(Node::link("/usr/share/zoneinfo/Europe/Paris")));
        assert_eq!(node(&bench, "/etc/timezone"), None);
        bench.apply(&zone("UTC"));
        for wrong in ["Europe", "Europe/Atlantis"] {
            let error = bench.render(&zone(wrong)).unwrap_err().to_string();
            assert!(error.starts_with("timezone: ") && error.contains("tzdata"), "{error}");
        }
    }

    #[test]
    fn debian_keeps_zone_and_locale_in_its_own_places() {
        let settings = Settings {
            timezone: Some(Timezone::parse("UTC").unwrap()),
            locale: Some(Locale::parse("C.UTF-8").unwrap()),
            hostname: Some(Hostname::parse("lb-1.example.net").unwrap()),
            ..Settings::default()
        };
        let mut debian = Bench::new(Tree::new().with("/etc/debian_version", "12\n"));
        debian.apply(&settings);
        assert_eq!(debian.text("/etc/timezone"), "UTC\n");
        assert_eq!(debian.text("/etc/default/locale"), "LANG=C.UTF-8\n");
        assert_eq!(debian.text("/etc/hostname"), "lb-1.example.net\n");
        let mut other = Bench::new(Tree::new());
        other.apply(&settings);
        assert_eq!(node(&other, "/etc/timezone"), None);
        assert_eq!(other.text("/etc/locale.conf"), "LANG=C.UTF-8\n");
        let linked = debian.tree.with_node("/etc/default/locale", Node::link("../locale.conf"));
        let mut debian = Bench::new(linked);
        debian.apply(&settings);
        assert_eq!(debian.text("/etc/locale.conf"), "LANG=C.UTF-8\n");
    }
}
