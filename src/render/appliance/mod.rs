//! What a class makes of its fields: files from templates, the fields themselves for `get`, services, volumes.

pub mod fields;
mod values;
mod volumes;

use super::accounts::Names;
use super::templates::{self, MAX_RENDERED};
use super::{Context, check_path, services};
use crate::class::{Class, Resolved, Template};
use crate::error::{Error, Result};
use crate::guest::Node;
use crate::plan::{Desired, Entry, Keeping};
use crate::settings::Settings;

/// Puts what the class declares. Comes after the accounts, because an owner may be a user of the settings.
///
/// # Errors
/// A template cannot be rendered with these fields, an owner or a unit does not exist, or another section of the settings
/// wants one of the files.
pub fn render(context: &Context<'_>, desired: &mut Desired) -> Result<()> {
    let class = context.class;
    fields::render(context, desired)?;
    volumes::render(context, desired)?;
    check_services(context.settings, class)?;
    for unit in &class.services {
        services::enable(context, desired, unit.as_str())?;
    }
    let wanted = texts(context.settings, class, context.resolved)?;
    if wanted.is_empty() {
        return Ok(());
    }
    let names = Names::of(context.guest, desired)?;
    for (template, text) in wanted {
        let place = place(template);
        check_path(context.guest, &place, &template.target)?;
        let owner = names.owner(&place, &template.owner, &template.group)?;
        let node = Some(Node::file_of(text, template.mode.bits(), owner));
        let secret = template.mode.bits() & 0o004 == 0;
        desired.put(template.target.clone(), Entry { node, keeping: Keeping::Owned, secret })?;
    }
    Ok(())
}

/// Judges what can be judged of it without a guest, for the operator's desk.
///
/// # Errors
/// Those of [`render`] that are about the settings and the class alone.
pub fn judge(settings: &Settings, class: &Class, resolved: &Resolved) -> Result<()> {
    check_services(settings, class)?;
    texts(settings, class, resolved).map(drop)
}

/// The texts of the files that the templates make, of those that there shall be.
fn texts<'c>(settings: &Settings, class: &'c Class, resolved: &Resolved) -> Result<Vec<(&'c Template, String)>> {
    let mut texts = Vec::new();
    let values = values::values(settings, class, resolved);
    for template in &class.templates {
        if template.when.as_ref().is_none_or(|when| resolved.holds(when)) {
            let place = place(template);
            let source = templates::Template { name: &place, text: &template.text, syntax: template.syntax };
            texts.push((template, templates::render(&source, &values, MAX_RENDERED)?));
        }
    }
    Ok(texts)
}

/// What errors call a template.
fn place(template: &Template) -> String {
    format!("template of {}", template.target)
}

/// Refuses settings that take away what the class needs.
fn check_services(settings: &Settings, class: &Class) -> Result<()> {
    for (index, service) in settings.services.iter().enumerate() {
        if class.services.contains(&service.name) && (service.masked || service.enabled == Some(false)) {
            return Err(Error::invalid(
                format_args!("services[{index}]"),
                format_args!("takes away `{}`, which the class {} needs", service.name, class.name),
                "remove it; stop the guest when the appliance shall not run",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
