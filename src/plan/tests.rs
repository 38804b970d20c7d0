//! The planner on guests in memory: what is planned, what is recorded, and what is given back.

use super::*;
use crate::class::Class;
use crate::commit::state::{Change, Changes, Committed, Standing, Trial};
use crate::guest::{GuestPath, Node, Owner, Tree};
use crate::settings::Settings;

/// A guest, its memory, and the settings that it gets one after the other.
struct Guest {
    tree: Tree,
    state: State,
    facts: Facts,
    on_trial: bool,
}

impl Guest {
    fn new(tree: Tree) -> Self {
        Guest { tree, state: State::default(), facts: Facts::default(), on_trial: false }
    }

    fn plan(&self, text: &str, desired: &Desired) -> Result<Plan> {
        let (settings, class) = (Settings::default(), Class::default());
        let incoming = Incoming {
            settings: &settings,
            class: &class,
            text: text.as_bytes(),
            signature: None,
            digest: text,
            authority: "test",
            source: "test",
            now: 7,
            on_trial: self.on_trial,
        };
        let situation =
            Situation { guest: &self.tree, previous: &self.state, facts: &self.facts, compare_owners: true };
        plan(desired.clone(), &incoming, &situation)
    }

    /// Plans, carries out in memory, and checks that nothing is left to do.
    fn apply(&mut self, text: &str, desired: &Desired) -> Plan {
        let plan = self.plan(text, desired).unwrap();
        for step in plan.all_steps() {
            carry_out(&mut self.tree, &step);
        }
        self.state = plan.state.clone();
        let again = self.plan(text, desired).unwrap();
        assert!(again.is_empty(), "a second run plans {:?}", again.all_steps());
        plan
    }

    fn text(&self, path: &str) -> Option<String> {
        self.tree.read(&GuestPath::of(path)).unwrap().map(|bytes| String::from_utf8(bytes).unwrap())
    }
}

fn carry_out(tree: &mut Tree, step: &Step) {
    match step.clone() {
        Step::MakeDirectory { path, mode, owner } => {
            tree.put(path, Node::Directory { mode, owner });
        }
        Step::WriteFile { path, file, before, .. } => {
            assert_eq!(tree.node(&path).unwrap(), before);
            tree.put(path, Node::File(file));
        }
        Step::WriteLink { path, target, before } => {
            assert_eq!(tree.node(&path).unwrap(), before);
            tree.put(path, Node::Link(target));
        }
        Step::SetAttributes { path, mode, owner, .. } => match tree.remove(&path).unwrap() {
            Node::File(file) => {
                tree.put(path, Node::file_of(file.content, mode, owner));
            }
            _ => {
                tree.put(path, Node::Directory { mode, owner });
            }
        },
        Step::Remove { path, before } => assert_eq!(tree.remove(&path), Some(before)),
        Step::RemoveDirectory { path } => {
            if tree.list(&path).unwrap().unwrap_or_default().is_empty() {
                tree.remove(&path);
            }
        }
    }
}

fn desired(files: &[(&str, &str)]) -> Desired {
    let mut desired = Desired::new();
    for (path, text) in files {
        desired.file(GuestPath::of(path), *text, 0o644).unwrap();
    }
    desired
}

#[test]
fn a_file_that_leaves_the_settings_gives_back_what_it_replaced() {
    let image = Tree::new().with("/etc/motd", "image\n").with("/etc/keep", "x");
    let mut guest = Guest::new(image.clone());
    guest.apply("one", &desired(&[("/etc/motd", "ours\n"), ("/etc/deep/er/new", "new\n")]));
    assert_eq!(guest.text("/etc/motd").unwrap(), "ours\n");
    assert_eq!(guest.text("/etc/deep/er/new").unwrap(), "new\n");

    guest.apply("two", &desired(&[("/etc/motd", "changed\n")]));
    assert_eq!(guest.tree.node(&GuestPath::of("/etc/deep")).unwrap(), None, "the directories made for it go too");

    let plan = guest.apply("three", &desired(&[]));
    assert_eq!(plan.generation, 3);
    assert_eq!(guest.text("/etc/motd").unwrap(), "image\n");
    let left: Vec<_> =
        guest.tree.iter().filter(|(path, _)| !path.is_within(&GuestPath::of("/var/lib/handoff"))).collect();
    assert_eq!(left.len(), image.iter().count() + 2, "the image and two parents: {left:?}");
    let objects = guest.tree.list(&GuestPath::of("/var/lib/handoff/objects")).unwrap().unwrap_or_default();
    assert!(objects.is_empty(), "contents that nobody needs are forgotten: {objects:?}");
}

#[test]
fn what_stood_there_already_as_wanted_is_given_back_too() {
    let mut guest = Guest::new(Tree::new().with("/etc/motd", "same\n"));
    let plan = guest.apply("one", &desired(&[("/etc/motd", "same\n")]));
    assert!(plan.steps.is_empty());
    guest.apply("two", &desired(&[("/etc/motd", "other\n")]));
    guest.apply("three", &desired(&[]));
    assert_eq!(guest.text("/etc/motd").unwrap(), "same\n");
}

#[test]
fn absent_and_links_are_given_back() {
    let image = Tree::new().with_node("/etc/a", Node::link("target")).with("/etc/b", "file");
    let mut guest = Guest::new(image);
    let mut wanted = Desired::new();
    wanted.absent(GuestPath::of("/etc/a")).unwrap();
    wanted.link(GuestPath::of("/etc/b"), "/dev/null").unwrap();
    guest.apply("one", &wanted);
    assert_eq!(guest.tree.node(&GuestPath::of("/etc/a")).unwrap(), None);
    assert_eq!(guest.tree.node(&GuestPath::of("/etc/b")).unwrap(), Some(Node::link("/dev/null")));
    guest.apply("two", &Desired::new());
    assert_eq!(guest.tree.node(&GuestPath::of("/etc/a")).unwrap(), Some(Node::link("target")));
    assert_eq!(guest.text("/etc/b").unwrap(), "file");
}

#[test]
fn settings_win_over_a_hand_edit_and_the_edited_text_is_kept() {
    let mut guest = Guest::new(Tree::new());
    guest.apply("one", &desired(&[("/etc/motd", "ours\n")]));
    guest.tree.put(GuestPath::of("/etc/motd"), Node::file("by hand\n", 0o644));
    let plan = guest.apply("one", &desired(&[("/etc/motd", "ours\n")]));
    assert_eq!(plan.generation, 1, "a repair is no new generation");
    assert_eq!(guest.text("/etc/motd").unwrap(), "ours\n");
    assert!(plan.warnings.iter().any(|line| line.contains("/etc/motd") && line.contains("edited by hand")));
    let kept = guest.state.kept.first().unwrap();
    assert_eq!(guest.text(&format!("/var/lib/handoff/objects/{}", kept.sha256)).unwrap(), "by hand\n");
    guest.apply("two", &Desired::new());
    assert_eq!(guest.text("/etc/motd"), None, "what was there before us was nothing");
}

#[test]
fn seeded_nodes_are_made_once_and_edited_ones_stay() {
    let mut guest = Guest::new(Tree::new().with("/etc/hosts", "image\n"));
    let mut wanted = Desired::new();
    wanted
        .seeded(GuestPath::of("/home/ops"), Node::Directory { mode: 0o700, owner: Owner { uid: 1, gid: 1 } })
        .unwrap();
    wanted.edited(GuestPath::of("/etc/hosts"), Node::file("image\nours\n", 0o644), false).unwrap();
    guest.apply("one", &wanted);
    guest.tree.put(GuestPath::of("/home/ops"), Node::Directory { mode: 0o755, owner: Owner { uid: 1, gid: 1 } });
    assert!(guest.plan("one", &wanted).unwrap().is_empty(), "the guest's own from then on");
    guest.apply("two", &Desired::new());
    assert_eq!(guest.text("/etc/hosts").unwrap(), "image\nours\n");
    assert!(guest.tree.node(&GuestPath::of("/home/ops")).unwrap().is_some());
}

#[test]
fn a_parent_that_we_made_becomes_what_is_seeded_there_and_stays() {
    let home = GuestPath::of("/home/ops");
    let of_ops = Node::Directory { mode: 0o700, owner: Owner { uid: 1, gid: 1 } };
    let seeded = |files: &[(&str, &str)]| {
        let mut wanted = desired(files);
        wanted.seeded(home.clone(), of_ops.clone()).unwrap();
        wanted
    };
    let file = [("/home/ops/app", "x")];
    for later in [&file[..], &[]] {
        let mut guest = Guest::new(Tree::new());
        guest.apply("one", &desired(&file));
        assert_eq!(guest.tree.node(&home).unwrap(), Some(Node::directory(0o755)));
        guest.apply("two", &seeded(later));
        assert_eq!(guest.tree.node(&home).unwrap(), Some(of_ops.clone()));
        assert_eq!(guest.text("/home/ops/app").is_some(), !later.is_empty());
        guest.apply("three", &Desired::new());
        assert_eq!(guest.tree.node(&home).unwrap(), Some(of_ops.clone()), "the guest's own from then on");
    }

    let mut guest = Guest::new(Tree::new());
    guest.apply("one", &desired(&file));
    let by_hand = Node::Directory { mode: 0o711, owner: Owner { uid: 5, gid: 5 } };
    guest.tree.put(home.clone(), by_hand.clone());
    guest.apply("two", &seeded(&file));
    assert_eq!(guest.tree.node(&home).unwrap(), Some(by_hand), "what somebody else has changed is theirs");
}

#[test]
fn only_mode_and_owner_are_set_where_the_content_is_right() {
    let guest = Guest::new(Tree::new().with_node("/etc/x", Node::file_of("x", 0o600, Owner { uid: 5, gid: 5 })));
    let plan = guest.plan("one", &desired(&[("/etc/x", "x")])).unwrap();
    assert!(matches!(plan.steps.as_slice(), [Step::SetAttributes { mode: 0o644, owner: Owner::ROOT, .. }]));
    let settings = Settings::default();
    let incoming = Incoming {
        settings: &settings,
        class: &Class::default(),
        text: b"one",
        signature: None,
        digest: "one",
        authority: "test",
        source: "test",
        now: 7,
        on_trial: false,
    };
    let facts = Facts::default();
    let state = State::default();
    let tree = Tree::new().with_node("/etc/x", Node::file_of("x", 0o644, Owner { uid: 5, gid: 5 }));
    let situation = Situation { guest: &tree, previous: &state, facts: &facts, compare_owners: false };
    assert!(
        super::plan(desired(&[("/etc/x", "x")]), &incoming, &situation).unwrap().steps.is_empty(),
        "owners that cannot be set do not count"
    );
}

#[test]
fn what_stands_in_the_way_is_an_error_except_in_a_users_territory() {
    let tree = Tree::new().with("/etc/x/file", "");
    let error = Guest::new(tree).plan("one", &desired(&[("/etc/x", "x")])).unwrap_err();
    assert_eq!(error.class().exit_code(), 13);

    let home = Node::Directory { mode: 0o700, owner: Owner { uid: 1000, gid: 1000 } };
    let tree = Tree::new().with_node("/home/ops", home).with("/home/ops/.ssh/authorized_keys/planted", "");
    let plan = Guest::new(tree)
        .plan("one", &desired(&[("/home/ops/.ssh/authorized_keys", "key\n"), ("/etc/y", "y")]))
        .unwrap();
    assert!(plan.steps.iter().any(|step| step.path().as_str() == "/etc/y"), "{:?}", plan.steps);
    assert!(!plan.steps.iter().any(|step| step.path().is_within(&GuestPath::of("/home"))), "{:?}", plan.steps);
    assert!(plan.warnings.iter().any(|line| line.contains("authorized_keys")), "{:?}", plan.warnings);

    // A user who may write in a directory can put the same things there as one who owns it.
    for (mode, gid) in [(0o775, 1000), (0o1777, 0), (0o777, 0)] {
        let shared = Node::Directory { mode, owner: Owner { uid: 0, gid } };
        let tree = Tree::new().with_node("/srv/app", shared).with("/srv/app/config/planted", "");
        let wanted = desired(&[("/srv/app/config", "x"), ("/etc/y", "y")]);
        let plan = Guest::new(tree).plan("one", &wanted).unwrap();
        assert!(plan.steps.iter().any(|step| step.path().as_str() == "/etc/y"), "{mode:o}: {:?}", plan.steps);
        assert!(plan.warnings.iter().any(|line| line.contains("/srv/app/config")), "{:?}", plan.warnings);
    }
    let ours = Node::Directory { mode: 0o775, owner: Owner::ROOT };
    let tree = Tree::new().with_node("/srv/app", ours).with("/srv/app/config/planted", "");
    assert!(Guest::new(tree).plan("one", &desired(&[("/srv/app/config", "x")])).is_err());
}

#[test]
fn a_large_file_in_reach_of_users_is_kept_only_where_it_is_ours() {
    let large = "x".repeat((128 << 10) + 1);
    let (planted, ours) = ("/srv/of-user/planted", "/srv/of-user/ours");
    let mut guest = Guest::new(Tree::new());
    guest.tree.put(GuestPath::of("/srv"), Node::directory(0o755));
    guest
        .tree
        .put(GuestPath::of("/srv/of-user"), Node::Directory { mode: 0o755, owner: Owner { uid: 1000, gid: 1000 } });
    guest.tree.put(GuestPath::of("/srv/of-root"), Node::file(large.as_bytes(), 0o644));
    guest.tree.put(GuestPath::of(planted), Node::file(large.as_bytes(), 0o644));
    // The settings may put a large file there, change it and take it away.
    let plan = guest.apply("1", &desired(&[(ours, &large), (planted, "a\n"), ("/srv/of-root", "a\n")]));
    assert!(plan.warnings.len() == 1 && plan.warnings[0].contains(planted), "{:?}", plan.warnings);
    assert_eq!(guest.text("/srv/of-root").unwrap(), "a\n");
    assert_eq!(guest.text(ours).as_ref(), Some(&large));
    let other = large.replace('x', "y");
    guest.apply("2", &desired(&[(ours, &other)]));
    assert_eq!(guest.text(ours).as_ref(), Some(&other));
    assert_eq!(guest.text(planted).as_ref(), Some(&large));
    guest.apply("3", &desired(&[]));
    assert_eq!(guest.text(ours), None);
    assert_eq!(guest.text("/srv/of-root").as_ref(), Some(&large));
    // What fits is kept.
    guest.tree.put(GuestPath::of(planted), Node::file(&large.as_bytes()[1..], 0o644));
    guest.apply("4", &desired(&[(planted, "a\n")]));
    assert_eq!(guest.text(planted).unwrap(), "a\n");
}

#[test]
fn the_state_comes_last_of_the_writes_and_old_generations_go() {
    let mut guest = Guest::new(Tree::new());
    for number in 1..=8 {
        let plan = guest.apply(&format!("text {number}"), &desired(&[("/etc/x", &format!("{number}"))]));
        let last = plan.bookkeeping.iter().rev().find(|step| matches!(step, Step::WriteFile { .. })).unwrap();
        assert_eq!(last.path().as_str(), "/var/lib/handoff/state.json");
    }
    let kept = guest.tree.list(&GuestPath::of("/var/lib/handoff/generations")).unwrap().unwrap();
    assert_eq!(kept, ["4", "5", "6", "7", "8"]);
    assert_eq!(guest.state.history.keys().copied().collect::<Vec<_>>(), [4, 5, 6, 7, 8]);
    let changes =
        Changes { changed: 1, paths: [(GuestPath::of("/etc/x"), Change::Changed)].into(), ..Changes::default() };
    assert_eq!(
        guest.state.current(),
        Some(&Committed {
            digest: "text 8".into(),
            authority: "test".into(),
            time: 7,
            source: Some("test".into()),
            standing: Some(Standing::Untried),
            changes: Some(changes),
            ..Committed::default()
        })
    );
}

#[test]
fn forgetting_leaves_the_guest_without_a_trace() {
    let image = Tree::new().with("/etc/motd", "image\n");
    let mut guest = Guest::new(image.clone());
    guest.apply("one", &desired(&[("/etc/motd", "ours\n"), ("/etc/new", "x")]));
    let situation = Situation { guest: &guest.tree, previous: &guest.state, facts: &guest.facts, compare_owners: true };
    for step in forget(Desired::new(), &situation).unwrap().all_steps() {
        carry_out(&mut guest.tree, &step);
    }
    let left: Vec<_> = guest.tree.iter().filter(|(_, node)| matches!(node, Node::File(_))).collect();
    assert_eq!(left, image.iter().collect::<Vec<_>>());
}

#[test]
fn forgetting_tells_what_it_cannot_give_back() {
    let home = Node::Directory { mode: 0o700, owner: Owner { uid: 1000, gid: 1000 } };
    let mut guest = Guest::new(Tree::new().with_node("/home/ops", home));
    guest.apply("one", &desired(&[("/home/ops/.ssh/authorized_keys", "key\n")]));
    let keys = GuestPath::of("/home/ops/.ssh/authorized_keys");
    guest.tree.remove(&keys);
    guest.tree.put(keys.join("planted").unwrap(), Node::file("", 0o644));
    let situation = Situation { guest: &guest.tree, previous: &guest.state, facts: &guest.facts, compare_owners: true };
    let mut wanted = Desired::new();
    wanted.warnings.push("of the renderer".into());
    let warnings = forget(wanted, &situation).unwrap().warnings;
    assert_eq!(warnings.first().unwrap(), "of the renderer");
    assert!(warnings.len() > 1, "{warnings:?}");
}

#[test]
fn secrets_are_not_shown() {
    let mut wanted = Desired::new();
    wanted.secret_file(GuestPath::of("/etc/key"), "hunter2\n", 0o600).unwrap();
    let tree = Tree::new().with_node("/etc/was", Node::file("swordfish\n", 0o600));
    wanted.file(GuestPath::of("/etc/was"), "open\n", 0o644).unwrap();
    let shown = Guest::new(tree).plan("one", &wanted).unwrap().show(true);
    assert!(!shown.contains("hunter2") && !shown.contains("swordfish"), "{shown}");
    assert!(shown.contains("create /etc/key"), "{shown}");
}

#[test]
fn what_is_new_is_on_trial_until_somebody_sees_it_work_and_what_was_good_is_not() {
    let mut guest = Guest { on_trial: true, ..Guest::new(Tree::new()) };
    let trial = |attempt, good| Some(Trial { attempt, good });
    assert_eq!(guest.apply("one", &Desired::default()).state.trial, trial(1, None));
    assert_eq!(guest.apply("one", &Desired::default()).bookkeeping, [], "the same again is no new trial");
    guest.state.trial = None;
    assert_eq!(guest.apply("two", &Desired::default()).state.trial, trial(1, Some(1)));
    guest.state.trial = trial(3, Some(1));
    assert_eq!(guest.apply("three", &Desired::default()).state.trial, trial(1, Some(1)), "two was never good");
    assert_eq!(guest.apply("one", &Desired::default()).state.trial, None, "one was");
    assert_eq!(guest.state.good(), Some(4));
    guest.on_trial = false;
    assert_eq!(guest.apply("four", &Desired::default()).state.trial, None);
}

#[test]
fn the_last_good_settings_are_kept_however_many_were_tried_since() {
    let mut guest = Guest { on_trial: true, ..Guest::new(Tree::new()) };
    guest.apply("good", &Desired::default());
    guest.state.trial = None;
    for number in 0..2 * KEPT_GENERATIONS {
        guest.apply(&format!("bad {number}"), &Desired::default());
    }
    let kept = |guest: &Guest, number: u64| {
        let path = GuestPath::of(&format!("/var/lib/handoff/generations/{number}/settings.json"));
        (guest.state.history.contains_key(&number), guest.tree.node(&path).unwrap().is_some())
    };
    assert_eq!((kept(&guest, 1), kept(&guest, 2)), ((true, true), (false, false)));
    guest.state.trial = None;
    guest.apply("good for another time", &Desired::default());
    assert_eq!(kept(&guest, 1), (false, false), "it is not the last good one any more");
}

#[test]
fn a_count_is_recorded_in_one_small_write_and_no_count_in_none() {
    let mut guest = Guest { on_trial: true, ..Guest::new(Tree::new()) };
    guest.apply("one", &Desired::default());
    assert_eq!(record(&guest.tree, &guest.state).unwrap(), []);
    let counted = State { trial: Some(Trial { attempt: 2, good: None }), ..guest.state.clone() };
    let steps = record(&guest.tree, &counted).unwrap();
    assert!(
        matches!(steps.as_slice(), [Step::WriteFile { path, .. }] if path.as_str() == "/var/lib/handoff/state.json")
    );
}
