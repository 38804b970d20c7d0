//! The command `wait`: what runs while the boot is stopped. It shows why, once a minute, and takes corrected settings as soon as
//! a disk brings them; then the boot goes on, without a restart.

use super::arguments::Arguments;
use super::boot::{earlier, exit_code, finish, refused};
use super::commands::{self, Run, apply_offer, recover, warn};
use super::deferral;
use super::offer::{self, accept};
use super::status::{Mode, Outcome, Status};
use super::trial;
use crate::class::Class;
use crate::commit::state::State;
use crate::error::{Error, Result};
use crate::guest::Facts;
use crate::platform::{self, BlockEvents, PreparedRoot};
use crate::root::Root;
use crate::source::{Found, Medium, News, Places, Spec, news};
use std::collections::BTreeSet;
use std::io::Write;
use std::time::{Duration, Instant};

/// How often the reason is shown, for whoever opens the console later.
const REPEAT: Duration = Duration::from_secs(60);
/// How long at most until disks are looked at again, without any news of the kernel: an optical drive tells of a new medium
/// only when it is asked.
const LOOK: Duration = Duration::from_secs(2);
/// How long what is new must stay as it is before it is judged: a host may still be writing it, or attaching another. It is
/// also the least time between two looks, however many news there are.
const SETTLE: Duration = Duration::from_millis(300);

/// Shows why the boot is stopped, and waits until it may go on. Ends with 0 when systemd has been told to.
///
/// # Errors
/// [`crate::error::Class::Usage`]: no boot is stopped. systemd cannot be told.
pub(super) fn wait(root: &Root, arguments: &Arguments, out: &mut dyn Write, err: &mut dyn Write) -> Result<u8> {
    // A status that cannot be read, or that nobody could write, is that of a boot which went wrong.
    let first = earlier(root).ok().flatten();
    match &first {
        // We were here before, and systemd could not be told.
        Some(status) if status.mode == Mode::Stopped && goes_on(status) => return go_on(),
        Some(status) if goes_on(status) && status.outcome != Outcome::Deferred => {
            return Err(Error::usage("wait", "is for a boot that is stopped, and this one is not", "use `apply`"));
        }
        _ => {}
    }
    let mut told = first.map(|status| status.message);
    // Before the first look, so that nothing can come unseen between the look and the wait.
    let mut events = BlockEvents::open();
    let mut watch = Watch::new(Places::default());
    let mut shown = None;
    loop {
        let started = Instant::now();
        let result = match watch.look(&sources(root, arguments)) {
            None => None,
            Some(Ok(found)) => Some(offered(root, found, err)),
            Some(Err(error)) => Some(Err(error)),
        };
        if let Some(result) = result {
            let status = result.unwrap_or_else(|error| refused(root, Mode::Stopped, &error));
            // The boot itself has said so of the disk that stopped it.
            if told.take_if(|told| *told == status.message).is_none() {
                let goes_on = goes_on(&status);
                finish(status, started, err)?;
                if goes_on {
                    return go_on();
                }
            }
        }
        if shown.is_none_or(|shown: Instant| shown.elapsed() >= REPEAT) {
            if let Err(error) = commands::status(root, arguments, false, out) {
                warn(err, &[error.to_string()]);
            }
            shown = Some(Instant::now());
        }
        if watch.new.is_none() {
            events.wait(LOOK);
        }
        std::thread::sleep(SETTLE);
    }
}

fn goes_on(status: &Status) -> bool {
    matches!(exit_code(status), 0 | 14)
}

fn go_on() -> Result<u8> {
    crate::handoff::go_on()?;
    Ok(0)
}

/// Where the class looks for settings. A class that cannot be read stops the boot; what is offered then fails by it again,
/// and says so.
fn sources(root: &Root, arguments: &Arguments) -> Vec<Spec> {
    match (&arguments.source, Class::load(root)) {
        (Some(spec), _) => vec![spec.clone()],
        (None, Ok(class)) => class.policy.sources,
        (None, Err(_)) => vec![Spec::Auto],
    }
}

/// What was seen and refused.
struct Watch {
    places: Places,
    refused: BTreeSet<Medium>,
    /// What the look before has brought, which is judged when it is still there.
    new: Option<Medium>,
    /// Whether it has looked. What is there at first was there in the boot, and has stayed as it is since.
    has_looked: bool,
    /// What concerns several disks, and was told.
    unclear: Option<Error>,
}

impl Watch {
    fn new(places: Places) -> Self {
        Watch { places, refused: BTreeSet::new(), new: None, has_looked: false, unclear: None }
    }

    /// Settings that are there for a while and were not judged before; an error for what is there and can be none. Each once.
    fn look(&mut self, sources: &[Spec]) -> Option<Result<Found>> {
        let first = !std::mem::replace(&mut self.has_looked, true);
        let (medium, result) = match news(sources, &self.places, &self.refused) {
            News::Nothing => {
                (self.new, self.unclear) = (None, None);
                return None;
            }
            News::Found(medium, found) => (medium, Ok(found)),
            News::Broken(medium, error) => (medium, Err(error)),
            News::Unclear(error) => {
                self.new = None;
                let is_told = self.unclear.replace(error.clone()).as_ref() == Some(&error);
                return (!is_told).then_some(Err(error));
            }
        };
        self.unclear = None;
        if first || self.new.as_ref() == Some(&medium) {
            self.new = None;
            self.refused.insert(medium);
            return Some(result);
        }
        self.new = Some(medium);
        None
    }
}

/// Applies what was found, as a boot would. The root is writable only meanwhile.
fn offered(root: &Root, found: Found, err: &mut dyn Write) -> Result<Status> {
    let prepared = PreparedRoot::new()?;
    let result = attempt(root, found, err);
    drop(prepared);
    result
}

pub(super) fn attempt(root: &Root, found: Found, err: &mut dyn Write) -> Result<Status> {
    let mounts = deferral::missing_mounts(root, &Class::load(root)?.volumes)?;
    if !mounts.is_empty() {
        deferral::check_service(root, &mounts)?;
        let message = format!("left to handoff.service, because {} is not mounted yet", mounts.join(", "));
        return Ok(Status::new(Mode::Stopped, Outcome::Deferred, message, &State::default()));
    }
    recover(root, err)?;
    let machine = offer::machine(root)?.map(|uuid| uuid.to_string());
    let live = Some(platform::live(root, false)?);
    let mut run = Run::new(root, Facts { machine, entropy: platform::entropy()?, live })?;
    let offer = accept(root, &run.class, &run.state, found)?;
    // The boot stopped because of these, and they are still there.
    let is_current = run.state.current().is_some_and(|current| current.digest == offer.verified.digest().to_string());
    if is_current && trial::is_used_up(trial::as_pinned(root, &run.state).as_ref(), run.class.policy.attempts) {
        return Err(trial::used_up(&run.state, run.class.policy.attempts));
    }
    apply_offer(&mut run, &offer, Mode::Stopped, err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::{Blob, container};
    use std::fs;
    use std::path::Path;

    fn watch(directory: &Path) -> Watch {
        let places = Places { sys_class_block: directory.join("class"), dev: directory.join("dev") };
        fs::create_dir(&places.dev).unwrap();
        Watch::new(places)
    }

    fn put(watch: &Watch, name: &str, text: &str) {
        let sys = watch.places.sys_class_block.join(name);
        fs::create_dir_all(&sys).unwrap();
        fs::write(sys.join("size"), "8\n").unwrap();
        let blob = Blob::new("test", text.into(), None).unwrap();
        fs::write(watch.places.dev.join(name), container::encode(&blob)).unwrap();
    }

    fn look(watch: &mut Watch) -> Option<String> {
        let found = watch.look(&[Spec::Auto])?;
        Some(found.map_or_else(
            |error| error.problem().to_owned(),
            |found| String::from_utf8(found.blob.settings().to_vec()).unwrap(),
        ))
    }

    #[test]
    fn a_disk_is_judged_once_and_only_when_it_has_stayed_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let mut watch = watch(directory.path());
        assert_eq!(look(&mut watch), None);
        put(&watch, "vdb", "half");
        assert_eq!(look(&mut watch), None);
        put(&watch, "vdb", "whole");
        assert_eq!(look(&mut watch), None);
        assert_eq!(look(&mut watch).as_deref(), Some("whole"));
        assert_eq!(look(&mut watch), None);
        assert_eq!(look(&mut watch), None);
    }

    #[test]
    fn what_is_there_at_first_is_judged_at_once_so_that_one_that_comes_is_not_the_second_of_two() {
        let directory = tempfile::tempdir().unwrap();
        let mut watch = watch(directory.path());
        put(&watch, "vdb", "refused in the boot");
        assert_eq!(look(&mut watch).as_deref(), Some("refused in the boot"));
        put(&watch, "vdc", "corrected");
        assert_eq!((look(&mut watch), look(&mut watch).as_deref()), (None, Some("corrected")));
    }

    #[test]
    fn two_new_disks_are_refused_together_and_the_one_that_stays_is_judged() {
        let directory = tempfile::tempdir().unwrap();
        let mut watch = watch(directory.path());
        assert_eq!(look(&mut watch), None);
        put(&watch, "vdb", "one");
        put(&watch, "vdc", "two");
        assert_eq!(look(&mut watch).as_deref(), Some("are all settings disks, and only one may be there"));
        assert_eq!(look(&mut watch), None);
        fs::remove_dir_all(watch.places.sys_class_block.join("vdc")).unwrap();
        assert_eq!((look(&mut watch), look(&mut watch).as_deref()), (None, Some("one")));
    }
}
