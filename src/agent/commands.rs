//! The commands by hand: plan, apply, status, sources, rollback, reset.

use super::arguments::Arguments;
use super::judgement;
use super::log;
use super::offer::{self, Offer, offer};
use super::status::{Mode, Outcome, STATUS_PATH, Status, subject};
use super::trial;
use crate::class::{Class, Resolved};
use crate::commit::state::{Standing, State};
use crate::commit::store::OBJECTS;
use crate::commit::{self, Recovery};
use crate::document::Writer;
use crate::error::{Error, Result, one_line};
use crate::guest::{Facts, GuestPath, Live, RunningInit, View};
use crate::plan::{self, Desired, Incoming, Plan, Poke, Situation};
use crate::platform;
use crate::render::{self, Context};
use crate::root::Root;
use crate::settings::Settings;
use crate::source::{self, Places, Spec, Verdict};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// What every run begins with: the class, the memory, the facts.
pub(super) struct Run<'a> {
    pub root: &'a Root,
    pub class: Class,
    pub state: State,
    pub facts: Facts,
    pub started: Instant,
    /// What a disk that was named turned out to be, where it holds no settings.
    note: Option<String>,
}

impl<'a> Run<'a> {
    pub(super) fn new(root: &'a Root, facts: Facts) -> Result<Self> {
        let started = Instant::now();
        Ok(Run { root, class: Class::load(root)?, state: State::load(root)?, facts, started, note: None })
    }

    /// The settings that may be applied, from the sources of the command line or of the policy.
    pub(super) fn offer(&mut self, arguments: &Arguments, longest: Duration) -> Result<Option<Offer>> {
        let sources: &[Spec] = arguments.source.as_ref().map_or(&self.class.policy.sources, std::slice::from_ref);
        if arguments.source.is_none() && arguments.root != Path::new("/") {
            return Err(Error::usage(
                "command line",
                "--root is given without --source, and the disks of this machine are not those of that guest",
                "add --source, like --source file:settings.img",
            ));
        }
        offer(self.root, &self.class, &self.state, sources, longest, &mut self.note)
    }

    /// The plan for an offer.
    pub(super) fn plan(&self, offer: &Offer) -> Result<Plan> {
        let context = Context {
            settings: &offer.settings,
            class: &self.class,
            resolved: &offer.resolved,
            guest: self.root,
            previous: &self.state,
            facts: &self.facts,
        };
        let desired = render::render(&context).map_err(|error| error.within(&offer.place))?;
        let digest = offer.verified.digest().to_string();
        let incoming = Incoming {
            settings: &offer.settings,
            class: &self.class,
            text: offer.verified.settings(),
            signature: offer.verified.signature(),
            digest: &digest,
            authority: &offer.authority,
            source: &offer.place,
            now: offer::unix_time(),
            on_trial: !offer.is_own && self.facts.live.is_some() && trial::is_judged(self.root),
        };
        plan::plan(desired, &incoming, &self.situation())
    }

    pub(super) fn situation(&self) -> Situation<'_> {
        Situation {
            guest: self.root,
            previous: &self.state,
            facts: &self.facts,
            compare_owners: self.root.compares_owners(),
        }
    }

    fn none(&self) -> Error {
        let problem = format_args!("none holds settings{}", self.shown_note());
        Error::no_settings("sources", problem, "attach a settings disk, or name one with --source")
    }

    /// What is known of a disk that holds no settings, for the end of a sentence.
    pub(super) fn shown_note(&self) -> String {
        self.note.as_ref().map_or(String::new(), |note| format!(" ({note})"))
    }
}

fn facts(arguments: &Arguments, root: &Root) -> Result<Facts> {
    let live = if arguments.root == Path::new("/") { Some(platform::live(root, false)?) } else { None };
    Ok(Facts { machine: offer::machine(root)?.map(|uuid| uuid.to_string()), entropy: platform::entropy()?, live })
}

pub(super) fn tell(to: &mut dyn Write, text: &str) {
    // A reader who has gone away is no reason to leave the work half told.
    let _ = to.write_all(text.as_bytes());
    let _ = to.flush();
}

pub(super) fn warn(err: &mut dyn Write, warnings: &[String]) {
    for warning in warnings {
        tell(err, &format!("handoff: warning: {}\n", one_line(warning)));
    }
}

/// Finishes or takes back what an interrupted run left, and says so.
pub(super) fn recover(root: &Root, err: &mut dyn Write) -> Result<()> {
    match commit::recover(root)? {
        Recovery::Nothing => {}
        Recovery::RolledForward { .. } => tell(err, "handoff: an interrupted commit was completed\n"),
        Recovery::CleanedUp => tell(err, "handoff: an interrupted commit was taken back; it had changed nothing\n"),
    }
    Ok(())
}

pub(super) fn plan(
    root: &Root,
    arguments: &Arguments,
    diff: bool,
    against: Option<u64>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8> {
    if commit::interrupted(root)? {
        return Err(Error::not_applied(
            "journal",
            "an interrupted commit is pending",
            "run `handoff-agent apply` first",
        ));
    }
    let mut run = Run::new(root, facts(arguments, root)?)?;
    let offer = match against {
        Some(generation) => offer::committed(root, &run.class, &run.state, generation)?,
        None => run.offer(arguments, arguments.wait.unwrap_or_default())?.ok_or_else(|| run.none())?,
    };
    let plan = run.plan(&offer)?;
    warn(err, &plan.warnings);
    warn(err, &judgement::check(&run, &offer, &plan)?);
    if plan.is_empty() {
        tell(out, &format!("nothing to do: this guest is as {} says\n", one_line(&offer.place)));
        return Ok(0);
    }
    tell(out, &plan.show(diff));
    let (place, authority) = (one_line(&offer.place), one_line(&offer.authority));
    tell(out, &format!("{}, from {place}, {authority}\n", changes(&plan)));
    Ok(0)
}

/// How many paths a plan changes, in words.
fn changes(plan: &Plan) -> String {
    let number = plan.steps.len();
    format!("{number} {}", if number == 1 { "change" } else { "changes" })
}

pub(super) fn apply(root: &Root, arguments: &Arguments, out: &mut dyn Write, err: &mut dyn Write) -> Result<u8> {
    recover(root, err)?;
    let mut run = Run::new(root, facts(arguments, root)?)?;
    let offer = run.offer(arguments, arguments.wait.unwrap_or_default())?.ok_or_else(|| run.none())?;
    let status = apply_offer(&mut run, &offer, Mode::Hand, err)?;
    if run.facts.live.is_some() {
        platform::write_status(&status.to_json())?;
    }
    tell(out, &format!("{}\n", status.line()));
    Ok(0)
}

/// Plans and commits an offer, does the pokes, and says what came of it.
pub(super) fn apply_offer(run: &mut Run<'_>, offer: &Offer, mode: Mode, err: &mut dyn Write) -> Result<Status> {
    let mut plan = run.plan(offer)?;
    // Pokes alone are nothing new: as PID 1 the live host name has to be set in every boot.
    let is_empty = plan.steps.is_empty() && plan.bookkeeping.is_empty();
    let begins_trial = plan.state.trial.is_some() && plan.generation != run.state.generation;
    if begins_trial
        && mode == Mode::Hand
        && run.facts.live.as_ref().is_some_and(|live| live.init == Some(RunningInit::Systemd))
    {
        // In a boot it looks by itself, later. Here it has looked already, and runs on or has failed by that.
        plan.pokes.extend([Poke::Restart(trial::JUDGE.into()), Poke::Start(trial::JUDGE.into())]);
    }
    let (number, changes) = (plan.steps.len(), changes(&plan));
    if mode == Mode::Stopped {
        // No service runs yet. systemd starts them all after this, and in their order.
        plan.pokes.retain(|poke| matches!(poke, Poke::SetHostname(_) | Poke::RenameInterface { .. }));
    }
    let mut warnings = std::mem::take(&mut plan.warnings);
    warnings.extend(judgement::check(run, offer, &plan)?);
    warnings.extend(commit::commit(run.root, &plan.take_steps())?.warnings);
    warnings.extend(crate::handoff::poke(&plan.pokes));
    warn(err, &warnings);
    run.state = plan.state;
    let subject = subject(&run.state);
    let milliseconds = u64::try_from(run.started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let place = &offer.place;
    let authority = &offer.authority;
    let (outcome, message) = if is_empty {
        (Outcome::Unchanged, format!("nothing to do: {subject} is in place, as {place} says, {authority}"))
    } else {
        (Outcome::Applied, format!("applied {subject}: {changes} from {place}, {authority}, in {milliseconds} ms"))
    };
    let mut status = Status::new(mode, outcome, message, &run.state);
    status.source = Some(offer.place.clone());
    status.changes = number;
    status.warnings = warnings;
    status.milliseconds = milliseconds;
    Ok(status)
}

pub(super) fn sources(out: &mut dyn Write) -> Result<u8> {
    let candidates = source::list(&Places::default());
    if candidates.is_empty() {
        tell(out, "no disks\n");
        return Ok(0);
    }
    let mut none = true;
    for candidate in candidates {
        // What was not opened is not known to be of no format.
        let seen = candidate.size.map_or(String::new(), |bytes| {
            let label = candidate.label.map_or(String::new(), |label| format!(", label {label}"));
            format!("  {} KiB, {}{label}", bytes / 1024, candidate.kind.unwrap_or("no known format"))
        });
        none &= matches!(candidate.verdict, Verdict::Passed(_));
        let verdict = match candidate.verdict {
            Verdict::Qualifies => "holds settings".to_owned(),
            Verdict::Passed(reason) => format!("passed over: {reason}"),
            Verdict::Broken(error) => format!("BROKEN: {error}"),
        };
        tell(out, &format!("{}\n", one_line(&format!("{}{seen}: {verdict}", candidate.path.display()))));
    }
    if none {
        tell(out, "no settings were found on these\n");
    }
    Ok(0)
}

pub(super) fn status(root: &Root, arguments: &Arguments, json: bool, out: &mut dyn Write) -> Result<u8> {
    let state = State::load(root)?;
    let last = root.read(&GuestPath::of(STATUS_PATH))?.map(|bytes| Status::from_json(&bytes)).transpose()?;
    let drift = drift(root, &state);
    if json {
        let text = Writer::indented(|writer| {
            writer.table(|w| {
                w.key("version").number(1_u32);
                w.key("generation").number(state.generation);
                w.key("current").nullable(state.current(), |w, committed| committed.write(w));
                w.key("last_run").nullable(last.as_ref(), |w, last| last.write(w));
                w.key("edited_by_hand").list(&drift, |w, (path, words)| {
                    w.table(|w| {
                        w.key("path").text(path.as_str());
                        w.key("differs").list(words, |w, word| w.text(word));
                    });
                });
                w.key("last_good").nullable(state.good(), Writer::number);
                w.key("trial").nullable(state.trial, |w, trial| trial.write(w));
                w.key("generations").list(state.history.keys(), |w, number| w.number(*number));
                w.key("rejected").map(&state.rejected, |w, reason| w.text(reason));
                w.key("kept").list(&state.kept, |w, kept| kept.write(w));
            });
        });
        tell(out, &String::from_utf8_lossy(&text));
        return Ok(0);
    }
    match state.current() {
        None => tell(out, "no settings were ever applied to this guest\n"),
        Some(committed) => tell(out, &format!("{}\n{}", one_line(&subject(&state)), log::shown(committed))),
    }
    if let Some(trial) = &state.trial {
        // Without a class that can be read the number of attempts is not known, and the rest is worth telling.
        let attempts = Class::load(root).map_or(String::new(), |class| format!(" of {}", class.policy.attempts));
        tell(out, &format!("  on trial   attempt {}{attempts}\n", trial.attempt));
    }
    if state.generation > 0 {
        let good = state.good().map_or("none yet".to_owned(), |good| format!("generation {good}"));
        tell(out, &format!("  last good  {good}\n  kept       {}\n", log::known(&state)));
    }
    if let Some(last) = last {
        tell(out, &format!("  last run   {}\n", one_line(&last.message)));
        if let Some(ready) = &last.ready {
            tell(out, &format!("  ready      {}\n", ready.line()));
        }
    } else if arguments.root == Path::new("/") {
        tell(out, "  last run   none in this boot\n");
    }
    for (digest, reason) in &state.rejected {
        tell(out, &format!("  left       {}; its settings are not taken again: {digest}\n", one_line(reason)));
    }
    for (path, words) in &drift {
        tell(out, &format!("  edited     {path}: {}\n", one_line(&words.join(", "))));
    }
    if !drift.is_empty() {
        let generation = state.generation;
        tell(out, &format!("             `handoff-agent plan --diff --against {generation}` shows it\n"));
    }
    for kept in &state.kept {
        tell(
            out,
            &format!(
                "  text kept  {} as edited by hand, overwritten by generation {}: {OBJECTS}/{}\n",
                kept.path, kept.generation, kept.sha256
            ),
        );
    }
    Ok(0)
}

/// The paths of ours that hold something else by now, and how it differs.
fn drift(root: &Root, state: &State) -> Vec<(GuestPath, Vec<String>)> {
    let mut edited = Vec::new();
    for (path, owned) in &state.owned {
        let words = match root.node(path) {
            Ok(node) => plan::drift(&owned.ours, node.as_ref(), root.compares_owners()),
            // Something in the way that cannot even be looked at is no longer what we left there.
            Err(error) => vec![error.problem().to_owned()],
        };
        if !words.is_empty() {
            edited.push((path.clone(), words));
        }
    }
    edited
}

pub(super) fn rollback(
    root: &Root,
    arguments: &Arguments,
    generation: Option<u64>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8> {
    recover(root, err)?;
    let mut run = Run::new(root, facts(arguments, root)?)?;
    let state = &run.state;
    let now = state.generation;
    let Some(wanted) = generation.or_else(|| log::before(state)) else {
        let problem = "there is no generation before this one that was not left";
        let remedy = format_args!("apply other settings, or name one of those that are kept: {}", log::known(state));
        return Err(Error::usage("rollback", problem, remedy));
    };
    let digest = |number| state.history.get(&number).map(|committed| &committed.digest);
    if wanted == now || digest(wanted).is_some_and(|wanted| Some(wanted) == digest(now)) {
        let message = format!("nothing to do: {} has the settings of generation {wanted}", subject(state));
        tell(out, &format!("handoff: {}\n", one_line(&message)));
        return Ok(0);
    }
    let mut offer = offer::committed(root, &run.class, &run.state, wanted)?;
    offer::check_pinned(root, &run.state, wanted)?;
    // What was never seen to work has to show it, as if it were new.
    let standing = run.state.history.get(&wanted).and_then(|committed| committed.standing);
    offer.is_own = standing != Some(Standing::Trial);
    if let Some(reason) = run.state.rejected.remove(&offer.verified.digest().to_string()) {
        warn(err, &[format!("{reason}; it is taken again, because you have named it")]);
    }
    trial::leave(&mut run.state, &format!("generation {now} was rolled back by hand"));
    let status = apply_offer(&mut run, &offer, Mode::Hand, err)?;
    if run.facts.live.is_some() {
        platform::write_status(&status.to_json())?;
    }
    tell(out, &format!("{}\n", status.line()));
    Ok(0)
}

pub(super) fn reset(root: &Root, arguments: &Arguments, out: &mut dyn Write, err: &mut dyn Write) -> Result<u8> {
    recover(root, err)?;
    let mut facts = facts(arguments, root)?;
    // A running init keeps the identity that it has until it is shut down, so none is made on the way out.
    facts.live = Some(Live { init: Some(RunningInit::Other), first_boot: true, ..Live::default() });
    let run = Run::new(root, facts)?;
    let mut plan = forget(&run)?;
    let mut warnings = std::mem::take(&mut plan.warnings);
    let steps = plan.take_steps();
    warnings.extend(commit::commit(root, &steps)?.warnings);
    warn(err, &warnings);
    if steps.is_empty() {
        tell(out, "nothing to do: this guest remembers nothing\n");
        return Ok(0);
    }
    tell(out, "reset: all settings were given back, and this guest's identity is removed; shut it down and copy it\n");
    Ok(0)
}

/// The plan that gives back all that is ours, takes away the identity, and forgets.
fn forget(run: &Run<'_>) -> Result<Plan> {
    let (nothing, class, resolved) = (Settings::default(), Class::default(), Resolved::default());
    // With the identity that it has, so that no new one is made on the way out.
    let mut previous = run.state.clone();
    previous.identity = Some(render::identity::identity_of(&nothing));
    let context = Context {
        settings: &nothing,
        class: &class,
        resolved: &resolved,
        guest: run.root,
        previous: &previous,
        facts: &run.facts,
    };
    let mut desired: Desired = render::render(&context)?;
    render::identity::remove(run.root, &mut desired)?;
    let situation = Situation { previous: &previous, ..run.situation() };
    plan::forget(desired, &situation)
}
