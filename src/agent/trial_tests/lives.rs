//! Random lives of a guest, with the real engine: new settings, good and bad and refused, resets, power cuts in the middle of a
//! commit, ways back by hand. What must hold holds after each event.

use super::guest::{FLAWS, Flaw, Guest};
use crate::agent::offer;
use crate::agent::status::Outcome;
use crate::class::Class;
use crate::commit::fuse::until_cut;
use crate::commit::state::State;
use crate::commit::{self, store};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

/// How an appliance behaves with some settings.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Nature {
    Good,
    /// It does not get ready, and says so in time.
    NeverReady,
    /// It takes the guest with it before anybody has looked.
    Resets,
    /// Now so, now so.
    Flaky,
}

/// Numbers that look random and are the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

/// What the world knows of a guest, beside what the guest remembers.
struct Life {
    guest: Guest,
    dice: Dice,
    natures: BTreeMap<u64, Nature>,
    /// The settings that were last seen to work or chosen by hand.
    good: Option<u64>,
    /// Settings that the power cut may have let become good.
    maybe_good: Option<u64>,
    /// How often an appliance was started with each generation, while on trial.
    attempts: BTreeMap<u64, u32>,
    rejected: BTreeSet<String>,
    stopped: bool,
    /// Whether the power does not fail any more.
    steady: bool,
    /// For the message of a failure.
    story: Vec<String>,
    cuts: u32,
    ways_back: u32,
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let attempts = u32::try_from(1 + dice.roll(4)).unwrap();
        let failure = ["last-good", "stop", "continue"][usize::try_from(dice.roll(3)).unwrap()];
        Life {
            // What is signed by whom has tests of its own, and checking it takes longer than all the rest.
            guest: Guest::new(attempts, failure, "none"),
            dice,
            natures: BTreeMap::new(),
            good: None,
            maybe_good: None,
            attempts: BTreeMap::new(),
            rejected: BTreeSet::new(),
            stopped: false,
            steady: false,
            story: vec![format!("seed {seed}, {attempts} attempts, {failure}")],
            cuts: 0,
            ways_back: 0,
        }
    }

    fn tell(&mut self, what: impl Into<String>) {
        self.story.push(what.into());
    }

    fn highest(&self) -> u64 {
        self.guest.state().serials.get("m-1").map_or(0, |mark| mark.serial)
    }

    fn new_settings(&mut self, nature: Nature) {
        let serial = self.natures.keys().next_back().map_or(1, |last| last + 1);
        self.natures.insert(serial, nature);
        self.guest.offer(&Guest::settings(serial), None);
        self.tell(format!("serial {serial} is offered: {nature:?}"));
    }

    /// How many steps are left until the power fails, for some of the events.
    fn fuse(&mut self) -> Option<u32> {
        match self.dice.roll(2) {
            0 if !self.steady => u32::try_from(self.dice.roll(50)).ok(),
            _ => None,
        }
    }

    fn with_power<T>(&mut self, fuse: Option<u32>, work: impl FnOnce(&Guest) -> T) -> Option<T> {
        let result = until_cut(fuse, || work(&self.guest));
        if result.is_none() {
            self.cuts += 1;
            self.tell(format!("the power fails after {} steps", fuse.unwrap_or_default()));
            // The next start ends what was begun, unless the power fails again.
            let fuse = self.fuse();
            if until_cut(fuse, || commit::recover(&self.guest.root).unwrap()).is_none() {
                commit::recover(&self.guest.root).unwrap();
            }
        }
        self.check();
        result
    }

    fn serial(state: &State, generation: u64) -> Option<u64> {
        state.history.get(&generation).and_then(|committed| committed.serial)
    }

    /// What holds at any moment.
    fn check(&mut self) {
        let state = self.guest.state();
        let story = || self.story.join("\n  ");
        let current = Self::serial(&state, state.generation);
        let shown = current.map(|serial| serial.to_string()).unwrap_or_default();
        assert_eq!(self.guest.marker(), shown, "half of a generation\n  {}", story());
        let good = state.good().and_then(|good| Self::serial(&state, good));
        if good.is_some() && good == self.maybe_good {
            self.good = good;
        }
        assert_eq!(good, self.good, "the last good one is not what was seen to work\n  {}", story());
        let class = Class::load(&self.guest.root).unwrap();
        for generation in state.good().into_iter().chain(Some(state.generation)).filter(|number| *number > 0) {
            let kept = offer::committed(&self.guest.root, &class, &state, generation);
            assert!(kept.is_ok(), "generation {generation} is not kept: {kept:?}\n  {}", story());
        }
        for digest in &self.rejected {
            assert!(state.rejected.contains_key(digest), "bad settings were forgotten\n  {}", story());
        }
        let digest = state.current().map(|current| &current.digest);
        assert!(!digest.is_some_and(|digest| self.rejected.contains(digest)), "taken again\n  {}", story());
        let directory = self.guest.tree.join(&store::GENERATIONS[1..]);
        let kept = fs::read_dir(directory).map_or(0, Iterator::count);
        assert!(kept <= 7, "{kept} generations are kept\n  {}", story());
        for (digest, reason) in &state.rejected {
            let is_new = self.rejected.insert(digest.clone());
            self.ways_back += u32::from(is_new && !reason.contains("by hand"));
        }
        if let Some(serial) = self.good {
            self.maybe_good = Some(serial);
        }
    }

    /// One boot, from power on to the moment when nothing more happens, or the guest is reset.
    fn boot(&mut self, fuse: Option<u32>) {
        self.stopped = false;
        let Some((code, outcome, message)) = self.with_power(fuse, Guest::boot) else { return };
        self.tell(format!("boot: {code} {message}"));
        self.stopped = outcome == Outcome::Stopped;
        assert_eq!(self.stopped, !matches!(code, 0 | 14));
        if !self.stopped {
            self.appliance();
        }
    }

    /// The services are started, and somebody looks whether they get ready.
    fn appliance(&mut self) {
        loop {
            let state = self.guest.state();
            let Some(serial) = Self::serial(&state, state.generation) else { return };
            if state.trial.is_some() {
                let attempts = self.attempts.entry(state.generation).or_default();
                *attempts += 1;
                // With a policy that lets any boot go on, one that has nothing to go back to goes on with what it has.
                let is_endless = state.good().is_none() && self.story[0].ends_with("continue");
                let within = *attempts <= self.guest.attempts || is_endless;
                assert!(
                    within,
                    "{attempts} attempts with generation {}\n  {}",
                    state.generation,
                    self.story.join("\n  ")
                );
            }
            let is_ready = match self.natures[&serial] {
                Nature::Resets => {
                    self.tell(format!("serial {serial} resets the guest"));
                    return;
                }
                Nature::Good => true,
                Nature::NeverReady => false,
                Nature::Flaky => self.dice.roll(2) == 0,
            };
            if is_ready {
                self.maybe_good = Some(serial);
            }
            let fuse = self.fuse();
            let Some(again) = self.with_power(fuse, |guest| guest.look(is_ready)) else { return };
            let now = self.guest.state();
            self.tell(format!(
                "serial {serial} ready: {is_ready}; then generation {}, {:?}",
                now.generation, now.trial
            ));
            if !again {
                return;
            }
        }
    }

    fn event(&mut self) {
        match self.dice.roll(12) {
            0..4 => {
                let nature = match self.dice.roll(5) {
                    0 | 1 => Nature::Good,
                    2 => Nature::NeverReady,
                    3 => Nature::Resets,
                    _ => Nature::Flaky,
                };
                self.new_settings(nature);
            }
            4 | 5 => {
                let unsigned = |(flaw, _): &&(Flaw, u8)| !matches!(flaw, Flaw::Forged | Flaw::Unsigned);
                let flaws: Vec<Flaw> = FLAWS.iter().filter(unsigned).map(|(flaw, _)| *flaw).collect();
                let flaw = flaws[usize::try_from(self.dice.roll(flaws.len() as u64)).unwrap()];
                let highest = self.highest();
                if highest > 0 {
                    self.guest.offer_flawed(flaw, highest);
                    self.tell(format!("what is offered is {flaw:?}"));
                }
            }
            6 => {
                let state = self.guest.state();
                let others: Vec<u64> = state.history.keys().copied().filter(|n| *n != state.generation).collect();
                if !others.is_empty() {
                    let chosen = others[usize::try_from(self.dice.roll(others.len() as u64)).unwrap()];
                    let is_same =
                        state.current().map(|one| &one.digest) == state.history.get(&chosen).map(|one| &one.digest);
                    self.tell(format!("rolled back by hand from {} to {chosen}", state.generation));
                    if is_same {
                        return;
                    }
                    self.maybe_good = Self::serial(&state, chosen);
                    // Who chooses it takes it, whatever was said of it.
                    self.rejected.remove(&state.history[&chosen].digest);
                    let fuse = self.fuse();
                    self.with_power(fuse, |guest| guest.roll_back(chosen));
                }
            }
            _ => {
                if self.stopped && self.dice.roll(2) == 0 {
                    let fuse = self.fuse();
                    let Some((code, outcome, message)) = self.with_power(fuse, Guest::wait) else {
                        self.stopped = false;
                        return;
                    };
                    self.tell(format!("while stopped: {code} {message}"));
                    self.stopped = outcome == Outcome::Stopped;
                    if !self.stopped {
                        self.appliance();
                    }
                } else {
                    let fuse = self.fuse();
                    self.boot(fuse);
                }
            }
        }
    }

    /// Whatever it went through, it comes to rest, and takes corrected settings.
    fn end(&mut self) {
        for nature in self.natures.values_mut() {
            *nature = if *nature == Nature::Flaky { Nature::Good } else { *nature };
        }
        self.steady = true;
        self.tell("the power is steady from here on");
        for _ in 0..self.guest.attempts + 2 {
            self.boot(None);
        }
        let before = self.guest.picture();
        self.boot(None);
        let after = self.guest.picture();
        let changed: Vec<&PathBuf> =
            after.iter().filter(|(path, seen)| before.get(*path) != Some(*seen)).map(|one| one.0).collect();
        assert!(
            changed.is_empty() && before.len() == after.len(),
            "no rest: {changed:?}\n  {}",
            self.story.join("\n  ")
        );
        self.new_settings(Nature::Good);
        match self.stopped {
            true => {
                let (code, ..) = self.with_power(None, Guest::wait).unwrap();
                assert_eq!(code, 0, "{}", self.story.join("\n  "));
                self.appliance();
            }
            false => self.boot(None),
        }
        let newest = self.natures.keys().next_back().copied();
        assert_eq!(self.good, newest, "{}", self.story.join("\n  "));
    }
}

#[test]
fn whatever_happens_the_last_good_settings_are_kept_and_bad_ones_are_left() {
    const LIVES: u64 = 30;
    let (mut cuts, mut ways_back) = (0, 0);
    for seed in 1..=LIVES {
        let mut life = Life::new(seed);
        for _ in 0..25 {
            life.event();
        }
        life.end();
        cuts += life.cuts;
        ways_back += life.ways_back;
    }
    eprintln!("{LIVES} lives, {cuts} power cuts, {ways_back} ways back");
    assert!(cuts > 50 && ways_back > 8, "{cuts} power cuts, {ways_back} ways back");
}
