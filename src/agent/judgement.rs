//! The judgement of the class's own checkers on a plan, before it is committed: `haproxy -c` and its like.

use super::commands::Run;
use super::offer::Offer;
use crate::class::{Class, Kind, Resolved, Template, Value};
use crate::error::{Error, Result};
use crate::judge::{Verdict, judge};
use crate::plan::Plan;
use std::path::Path;

/// Asks the checkers of the class where the plan changes one of its files. Returns warnings.
///
/// # Errors
/// A checker refuses: its own words, [`crate::Class::Invalid`]. One cannot be asked.
pub(super) fn check(run: &Run<'_>, offer: &Offer, plan: &Plan) -> Result<Vec<String>> {
    let class = &run.class;
    let changed = |template: &&Template| plan.steps.iter().any(|step| *step.path() == template.target);
    let Some(first) = class.templates.iter().find(changed) else { return Ok(Vec::new()) };
    // One file may be read together with another, so a change of any is judged by all.
    let present = class.templates.iter().filter(|one| one.when.as_ref().is_none_or(|when| offer.resolved.holds(when)));
    let mut checked: Vec<&Template> = Vec::new();
    for template in present.filter(|template| !template.check.is_empty()) {
        if !checked.iter().any(|other| other.check == template.check) {
            checked.push(template);
        }
    }
    if checked.is_empty() {
        return Ok(Vec::new());
    }
    if run.facts.live.is_none() {
        return Ok(vec![format!(
            "{}: not judged by its own program, because this is not the guest itself",
            first.target
        )]);
    }
    let commands: Vec<Vec<String>> = checked.iter().map(|template| template.check.clone()).collect();
    let secrets = secrets(class, &offer.resolved);
    let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
    let verdicts = judge(run.root, Path::new("/"), &plan.steps, &commands, &secrets)?;
    let mut warnings = Vec::new();
    for (template, verdict) in checked.iter().zip(verdicts) {
        let program = template.check.first().map_or("", String::as_str);
        match verdict {
            Verdict::Passed => {}
            Verdict::NotJudged(reason) => {
                warnings.push(format!("{}: not judged by {program}: {reason}", template.target));
            }
            Verdict::Failed(words) => {
                let problem = format_args!("is refused by {program}: {words}");
                let remedy = "correct the fields that it is made of, and sign the settings again";
                return Err(Error::invalid(&template.target, problem, remedy).within(&offer.place));
            }
        }
    }
    Ok(warnings)
}

/// The secret texts, whole, line by line, and as the files of the class quote them.
fn secrets(class: &Class, resolved: &Resolved) -> Vec<String> {
    let mut texts = Vec::new();
    for field in &class.fields {
        let Some(value) = resolved.value(&field.name).filter(|_| field.holds_secret()) else { continue };
        match (value, &field.kind) {
            (Value::Table(records), Kind::Table { columns, .. }) => {
                for record in records {
                    let secret = columns.iter().zip(record).filter(|(column, _)| column.secret);
                    secret.filter_map(|(_, (_, value))| value.as_ref()).for_each(|value| add(&mut texts, value));
                }
            }
            _ => add(&mut texts, value),
        }
    }
    let mut all: Vec<String> = Vec::new();
    for text in &texts {
        let quoted = class.templates.iter().filter_map(|template| template.syntax.quote(text).ok());
        all.extend(quoted.chain(text.lines().map(str::to_owned)).chain([text.clone()]));
    }
    all
}

fn add(texts: &mut Vec<String>, value: &Value) {
    match value {
        Value::Word(text) | Value::Text(text) => texts.push(text.clone()),
        Value::List(items) => items.iter().for_each(|item| add(texts, item)),
        _ => {}
    }
}
