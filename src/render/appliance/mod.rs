//! What a class makes of its fields: files from templates, the fields themselves for `get`, services, volumes.

pub mod fields;
mod values;
mod volumes;

use super::accounts::Names;
use super::templates::{self, MAX_RENDERED};
use super::{Context, check_path, services};
use crate::error::{Error, Result};
use crate::guest::Node;
use crate::plan::{Desired, Entry, Keeping};

/// Puts what the class declares. Comes after the accounts, because an owner may be a user of the settings.
///
/// # Errors
/// A template cannot be rendered with these fields, an owner or a unit does not exist, or another section of the settings
/// wants one of the files.
pub fn render(context: &Context<'_>, desired: &mut Desired) -> Result<()> {
    let class = context.class;
    fields::render(context, desired)?;
    volumes::render(context, desired)?;
    check_services(context)?;
    for unit in &class.services {
        services::enable(context, desired, unit.as_str())?;
    }
    let wanted = class.templates.iter().filter(|one| one.when.as_ref().is_none_or(|when| context.resolved.holds(when)));
    let wanted: Vec<_> = wanted.collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let names = Names::of(context.guest, desired)?;
    let values = values::values(context);
    for template in wanted {
        let place = format!("template of {}", template.target);
        check_path(context.guest, &place, &template.target)?;
        let source = templates::Template { name: &place, text: &template.text, syntax: template.syntax };
        let text = templates::render(&source, &values, MAX_RENDERED)?;
        let owner = names.owner(&place, &template.owner, &template.group)?;
        let node = Some(Node::file_of(text, template.mode.bits(), owner));
        let secret = template.mode.bits() & 0o004 == 0;
        desired.put(template.target.clone(), Entry { node, keeping: Keeping::Owned, secret })?;
    }
    Ok(())
}

/// Refuses settings that take away what the class needs.
fn check_services(context: &Context<'_>) -> Result<()> {
    for (index, service) in context.settings.services.iter().enumerate() {
        if context.class.services.contains(&service.name) && (service.masked || service.enabled == Some(false)) {
            return Err(Error::invalid(
                format_args!("services[{index}]"),
                format_args!("takes away `{}`, which the class {} needs", service.name, context.class.name),
                "remove it; stop the guest when the appliance shall not run",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
