//! Services under systemd: the links that `systemctl enable` would make, masks, and drop-ins with an environment.

mod install;
mod units;

use super::super::Context;
use crate::error::{Error, Result};
use crate::guest::{GuestPath, Node, View};
use crate::plan::Desired;
use crate::settings::{EnvironmentVariable, Service};
use install::Parts;
use std::collections::BTreeSet;
use units::{ETC, Unit, Units, names_file};

/// Where environments are kept, readable by root only; systemd reads them as root before it starts the service.
const ENVIRONMENT: &str = "/etc/handoff/environment";

/// How many units one `Also=` after the other may reach.
const MAX_ALSO: usize = 64;

/// Puts the services of the settings into the desired tree.
///
/// # Errors
/// The image has not such a unit, or it cannot be had as asked for.
pub fn render(context: &Context<'_>, desired: &mut Desired) -> Result<()> {
    let units = Units::new(context)?;
    for service in &context.settings.services {
        one(context, &units, desired, service)?;
    }
    Ok(())
}

/// Enables one unit.
///
/// # Errors
/// As for [`render`].
pub fn enable(context: &Context<'_>, desired: &mut Desired, unit: &str) -> Result<()> {
    Enabling { units: &Units::new(context)?, context, seen: BTreeSet::new() }.unit(desired, unit, true)
}

fn one(context: &Context<'_>, units: &Units<'_>, desired: &mut Desired, service: &Service) -> Result<()> {
    let asked = service.name.as_str();
    let found = units.find(asked)?;
    let name = match &found.unit {
        Some(unit) => unit.name.clone(),
        None if service.masked || found.masked.is_some() || found.masked_by_image => asked.to_owned(),
        None => return Err(missing(units, asked)?),
    };
    if service.masked {
        if found.unit.is_none() && found.masked.is_none() && !found.masked_by_image {
            desired
                .warnings
                .push(format!("service `{asked}`: the image has no such unit, the name is masked all the same"));
        }
        desired.link(GuestPath::parse(&format!("{ETC}/{name}"))?, "/dev/null")?;
    }
    match service.enabled {
        Some(true) if !service.masked => {
            Enabling { units, context, seen: BTreeSet::new() }.unit(desired, asked, true)?;
        }
        Some(false) => disable(context, units, desired, &name)?,
        _ => {}
    }
    if !service.environment.is_empty() {
        environment(desired, &name, &service.environment)?;
    }
    Ok(())
}

fn missing(units: &Units<'_>, name: &str) -> Result<Error> {
    let stem = name.strip_suffix(".service").unwrap_or(name);
    if units.base.kind(&GuestPath::parse(&format!("/etc/init.d/{stem}"))?)?.is_some() {
        return Ok(Error::invalid(
            format_args!("service `{name}`"),
            "is a script in /etc/init.d without a unit",
            "give it a unit file in the image",
        ));
    }
    let like = units.like(name)?;
    let remedy = match like.is_empty() {
        true => "install it in the image, or correct the name".to_owned(),
        false => format!("did you mean {}?", like.join(", ")),
    };
    Ok(Error::invalid(format_args!("service `{name}`"), "the image has no such unit", remedy))
}

struct Enabling<'a> {
    units: &'a Units<'a>,
    context: &'a Context<'a>,
    seen: BTreeSet<String>,
}

impl Enabling<'_> {
    /// Enables a unit; with `asked`, the settings or another section name it, and what cannot be done is an error.
    fn unit(&mut self, desired: &mut Desired, name: &str, asked: bool) -> Result<()> {
        if self.seen.len() >= MAX_ALSO || !self.seen.insert(name.to_owned()) {
            return Ok(());
        }
        let refuse = |problem: &str, remedy: &str| Error::invalid(format_args!("service `{name}`"), problem, remedy);
        let found = self.units.find(name)?;
        if found.masked_by_image {
            return match asked {
                true => Err(refuse("is masked by the image itself", "remove the mask from the image")),
                false => Ok(()),
            };
        }
        let Some(unit) = found.unit else {
            return if asked { Err(missing(self.units, name)?) } else { Ok(()) };
        };
        // Another unit's `Also=` does not take away a mask, as with systemctl.
        if let Some(mask) = found.masked {
            if !asked {
                return Ok(());
            }
            desired.absent(mask)?;
        }
        if unit.install.is_empty() {
            return match asked {
                true => Err(refuse(
                    "is static: its unit file has no [Install] section",
                    "take `enabled` out of the settings, or let the image say in [Install] what starts it",
                )),
                false => Ok(()),
            };
        }
        self.links(desired, &unit, asked)?;
        for also in &unit.install.also {
            let Some(also) = Parts::of(&unit.name).and_then(|parts| parts.expand(also)) else { continue };
            // What the settings say of that unit themselves counts more.
            let said =
                |service: &Service| service.name.as_str() == also && (service.enabled.is_some() || service.masked);
            if Parts::of(&also).is_some() && !self.context.settings.services.iter().any(said) {
                self.unit(desired, &also, false)?;
            }
        }
        Ok(())
    }

    fn links(&self, desired: &mut Desired, unit: &Unit, asked: bool) -> Result<()> {
        let install = &unit.install;
        let own = Parts::of(&unit.name);
        let instance = own.filter(Parts::is_template).and_then(|parts| {
            let instance = install.default_instance.as_deref()?;
            Some(parts.with_instance(&parts.expand(instance)?))
        });
        // The name that is wanted: of a template it is the default instance.
        let wanted = instance.as_deref().unwrap_or(&unit.name);
        let Some(parts) = Parts::of(wanted) else { return Ok(()) };
        for alias in &install.alias {
            match parts.expand(alias).and_then(|alias| alias_name(&unit.name, &alias)) {
                Some(alias) if alias == unit.name => {}
                Some(alias) => self.link(desired, &format!("{ETC}/{alias}"), &unit.file)?,
                None => desired.warnings.push(format!("service `{}`: its alias `{alias}` cannot be made", unit.name)),
            }
        }
        let dependencies =
            [(&install.wanted_by, "wants"), (&install.required_by, "requires"), (&install.upheld_by, "upholds")];
        for (others, kind) in dependencies {
            for other in others {
                let Some(other) = parts.expand(other).filter(|other| Parts::of(other).is_some()) else {
                    desired.warnings.push(format!("service `{}`: `{other}` in its [Install] is no unit", unit.name));
                    continue;
                };
                if parts.is_template() && Parts::of(&other).is_some_and(|other| !other.is_template()) {
                    if asked {
                        return Err(Error::invalid(
                            format_args!("service `{}`", unit.name),
                            "is a template without a default instance",
                            "name an instance, like getty@tty1.service",
                        ));
                    }
                    continue;
                }
                self.link(desired, &format!("{ETC}/{other}.{kind}/{wanted}"), &unit.file)?;
            }
        }
        Ok(())
    }

    fn link(&self, desired: &mut Desired, path: &str, file: &str) -> Result<()> {
        let path = GuestPath::parse(path)?;
        match self.units.base.node(&path)? {
            Some(Node::Link(there)) if names_file(&path, &there, file) => desired.link(path, there),
            None | Some(Node::Link(_)) => desired.link(path, file),
            Some(_) => {
                desired.warnings.push(format!("{path}: a file of the image stands there, no link is made"));
                Ok(())
            }
        }
    }
}

/// The name of the link that an `Alias=` asks for; `None` where systemd refuses it too.
fn alias_name(unit: &str, alias: &str) -> Option<String> {
    let (unit, alias) = (Parts::of(unit)?, Parts::of(alias)?);
    let same = unit.suffix == alias.suffix;
    match (unit.instance, alias.instance) {
        (None, None) => same.then(|| alias.name.to_owned()),
        (Some(instance), Some("")) => same.then(|| alias.with_instance(instance)),
        (Some(mine), Some(theirs)) => (same && mine == theirs).then(|| alias.name.to_owned()),
        _ => None,
    }
}

/// Takes away every link that starts a unit, and its other names, as `systemctl disable` does.
fn disable(context: &Context<'_>, units: &Units<'_>, desired: &mut Desired, name: &str) -> Result<()> {
    let mut names = BTreeSet::new();
    let mut todo = vec![name.to_owned()];
    while let Some(name) = todo.pop() {
        let said = |service: &Service| service.name.as_str() == name && (service.enabled.is_some() || service.masked);
        let first = names.is_empty();
        if names.len() >= MAX_ALSO || !first && context.settings.services.iter().any(said) {
            continue;
        }
        let unit = units.find(&name)?.unit;
        if names.insert(name) {
            todo.extend(unit.map(|unit| unit.install.also).unwrap_or_default());
        }
    }
    let links = units.links()?;
    loop {
        let before = names.len();
        for (path, target) in &links {
            let to = target.rsplit('/').next().unwrap_or("");
            let top = path.parent().is_some_and(|parent| parent.as_str() == ETC);
            // A mask stays; and a link with the unit's own name is the unit, which stays too.
            let keep = target == "/dev/null" || top && path.name() == to;
            if !keep && (names.contains(path.name()) || names.contains(to)) {
                desired.absent(path.clone())?;
                if top {
                    names.insert(path.name().to_owned());
                }
            }
        }
        if names.len() == before {
            break;
        }
    }
    if let Some(link) = units.wanted_by_image(name)? {
        desired
            .warnings
            .push(format!("service `{name}`: {link} in the image still starts it; mask it to keep it down"));
    }
    Ok(())
}

/// A drop-in that names a file, and that file. Not `Environment=`, because everybody may read a unit's properties.
fn environment(desired: &mut Desired, unit: &str, variables: &[EnvironmentVariable]) -> Result<()> {
    if !unit.ends_with(".service") {
        return Err(Error::invalid(
            format_args!("service `{unit}`"),
            "has an environment, but runs no process of its own",
            "give the environment to the service that it starts",
        ));
    }
    let file = format!("{ENVIRONMENT}/{unit}");
    let drop_in = format!("# Managed by handoff. Changes here are overwritten.\n[Service]\nEnvironmentFile={file}\n");
    desired.file(GuestPath::parse(&format!("{ETC}/{unit}.d/90-handoff.conf"))?, drop_in, 0o644)?;
    let mut text = String::from("# Managed by handoff. Changes here are overwritten.\n");
    for variable in variables {
        text.push_str(variable.name.as_str());
        text.push_str("=\"");
        for c in variable.value.as_str().chars() {
            // In double quotes systemd.exec(5) knows these four and takes everything else as it is.
            if matches!(c, '"' | '\\' | '`' | '$') {
                text.push('\\');
            }
            text.push(c);
        }
        text.push_str("\"\n");
    }
    desired.secret_file(GuestPath::parse(&file)?, text, 0o600)
}

#[cfg(test)]
mod tests;
