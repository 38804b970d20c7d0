//! From the sources to settings that may be applied: found, verified, read, meant for this guest, and not old ones again.

use crate::class::{Class, Resolved};
use crate::commit::state::{Committed, State};
use crate::error::{Class as Failure, Error, Result};
use crate::guest::{GuestPath, View};
use crate::settings::Settings;
use crate::source::{Found, Places, Spec, wait};
use crate::trust::{
    Clock, Digest, Mark, Requirement, TRUSTED_KEYS_PATH, TrustedKeys, Uuid, Verified, check_pin, freshness,
    pin_from_command_line, verify,
};
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Further trusted keys, beside those in [`TRUSTED_KEYS_PATH`].
const LOCAL_TRUSTED_KEYS_PATH: &str = "/etc/handoff/trusted-keys";

/// A moment that has certainly passed when this program runs, in Unix seconds: 2026-11-22.
const RELEASED: u64 = 1_795_305_600;

/// Settings that may be applied.
#[derive(Debug)]
pub(super) struct Offer {
    /// Their bytes, proven.
    pub verified: Verified,
    /// What they say.
    pub settings: Settings,
    /// What the fields and terminals of the class are by them.
    pub resolved: Resolved,
    /// Who answers for them, for people.
    pub authority: String,
    /// Where they come from, for people.
    pub place: String,
    /// Whether they are from our own memory: somebody goes back to them, and has not to be shown that they work.
    pub is_own: bool,
}

/// Looks for settings until the wait is over. `None` where there are none; `note` says then what a named disk or file is instead.
///
/// # Errors
/// Some were found, and they may not be applied.
pub(super) fn offer(
    guest: &dyn View,
    class: &Class,
    state: &State,
    sources: &[Spec],
    longest: Duration,
    note: &mut Option<String>,
) -> Result<Option<Offer>> {
    let deadline = Instant::now() + longest;
    let found = wait(sources, &Places::default(), deadline, note)?;
    found.map(|found| accept(guest, class, state, found)).transpose()
}

/// Judges settings that were found.
///
/// # Errors
/// They may not be applied.
pub(super) fn accept(guest: &dyn View, class: &Class, state: &State, found: Found) -> Result<Offer> {
    let Found { blob, place } = found;
    let keys = trusted_keys(guest)?;
    let pin = pin(guest)?;
    let clock = Clock { now: unix_time(), floor: RELEASED };
    let verified = verify(&place, blob, class.policy.trust, &keys, pin.as_ref(), clock)?;
    let settings = Settings::read(&verified).map_err(|error| error.within(&place))?;
    let resolved = class.resolve(&settings).map_err(|error| error.within(&place))?;
    check(&verified, &settings, guest, state).map_err(|error| error.within(&place))?;
    Ok(Offer { authority: verified.authority().to_string(), verified, settings, resolved, place, is_own: false })
}

/// What is known of a generation that is kept.
///
/// # Errors
/// [`Failure::Usage`]: it is not.
pub(super) fn entry(state: &State, generation: u64) -> Result<&Committed> {
    state.history.get(&generation).ok_or_else(|| {
        let remedy = format_args!("choose one of those that are: {}", super::log::known(state));
        Error::usage(format_args!("generation {generation}"), "is not kept here", remedy)
    })
}

/// The settings of a generation that was committed here, from our own memory.
///
/// They were verified then. Now their bytes are held against the digest that was recorded, so a key that has expired
/// since does not stand between a guest and its last good settings.
///
/// # Errors
/// They are not kept any longer, or are damaged.
pub(super) fn committed(guest: &dyn View, class: &Class, state: &State, generation: u64) -> Result<Offer> {
    let place = format!("generation {generation}");
    let entry = entry(state, generation)?;
    let missing = || {
        let problem = format_args!("its settings are missing in {}", crate::commit::store::GENERATIONS);
        let remedy = "restore that directory from a backup, or give the guest other settings";
        Error::not_applied(&place, problem, remedy)
    };
    let digest = Digest::parse(&entry.digest).ok_or_else(missing)?;
    let directory = crate::commit::store::generation_directory(generation);
    let text = guest.read(&directory.join("settings.json")?)?.ok_or_else(missing)?;
    let signature = guest.read(&directory.join("settings.json.sig")?)?;
    let blob = crate::trust::Blob::new(&place, text, signature)?;
    let clock = Clock { now: unix_time(), floor: RELEASED };
    let verified = verify(&place, blob, Requirement::Digest, &TrustedKeys::default(), Some(&digest), clock)?;
    let settings = Settings::read(&verified).map_err(|error| error.within(&place))?;
    let resolved = class.resolve(&settings).map_err(|error| error.within(&place))?;
    Ok(Offer { authority: entry.authority.clone(), verified, settings, resolved, place, is_own: true })
}

/// Whether this boot may run on a generation that was committed here: where the kernel's command line pins settings, on those
/// alone, also where they are gone back to. Reading a generation asks nothing of it, see [`committed`].
///
/// # Errors
/// [`Failure::NotVerified`]: others are pinned, or the pin cannot be read.
pub(super) fn check_pinned(guest: &dyn View, state: &State, generation: u64) -> Result<()> {
    let Some(pin) = pin(guest)? else { return Ok(()) };
    // A digest that cannot be read is that of no settings.
    let digest = Digest::parse(&entry(state, generation)?.digest).unwrap_or(Digest::from_bytes([0; 32]));
    check_pin(&format!("generation {generation}"), &digest, &pin)
}

/// Whether genuine settings are meant for this guest, now.
fn check(verified: &Verified, settings: &Settings, guest: &dyn View, state: &State) -> Result<()> {
    let digest = verified.digest();
    if let Some(reason) = state.rejected.get(&digest.to_string()) {
        return Err(Error::new(
            Failure::LastGood,
            "settings",
            format_args!("are not taken again, because {reason}"),
            "give corrected settings with a higher instance.serial",
        ));
    }
    // The settings that are committed already are no replay of themselves, also after a rollback to them.
    let current = state.current().is_some_and(|committed| committed.digest == digest.to_string());
    let known = marks(state);
    match &settings.instance {
        None if current => {}
        None => freshness::check_no_instance(&known)?,
        Some(instance) => {
            if !current {
                freshness::check_serial(instance.id.as_str(), instance.serial, digest, &known)?;
            }
            if let Some(wanted) = &instance.machine {
                freshness::check_machine(wanted, machine(guest)?.as_ref())?;
            }
        }
    }
    Ok(())
}

fn marks(state: &State) -> BTreeMap<String, Mark> {
    let mark = |mark: &crate::commit::state::SerialMark| {
        // A digest that cannot be read can equal none, so it never excuses an equal serial.
        let digest = Digest::parse(&mark.digest).unwrap_or(Digest::from_bytes([0; 32]));
        Mark { serial: mark.serial, digest }
    };
    state.serials.iter().map(|(id, known)| (id.clone(), mark(known))).collect()
}

fn trusted_keys(guest: &dyn View) -> Result<TrustedKeys> {
    let mut keys = TrustedKeys::default();
    for path in [TRUSTED_KEYS_PATH, LOCAL_TRUSTED_KEYS_PATH] {
        if let Some(bytes) = guest.read(&GuestPath::of(path))? {
            keys.extend(TrustedKeys::parse(path, &bytes)?);
        }
    }
    Ok(keys)
}

fn pin(guest: &dyn View) -> Result<Option<Digest>> {
    match guest.read(&GuestPath::of("/proc/cmdline"))? {
        None => Ok(None),
        Some(line) => pin_from_command_line(&String::from_utf8_lossy(&line)),
    }
}

/// The machine's SMBIOS UUID. `None` where it has none.
///
/// # Errors
/// The firmware's text cannot be read.
pub(super) fn machine(guest: &dyn View) -> Result<Option<Uuid>> {
    let text = guest.read(&GuestPath::of("/sys/class/dmi/id/product_uuid"))?;
    Ok(text.and_then(|text| Uuid::parse(String::from_utf8_lossy(&text).trim())))
}

/// The clock, in Unix seconds; 0 where it stands before 1970.
pub(super) fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
