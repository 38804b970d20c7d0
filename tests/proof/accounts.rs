//! What must hold of the four account files, read by means of the tests' own and not of the program's.

use super::Picture;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The lines of an account file, in their fields. What has no colon is nobody's.
pub fn account_lines(picture: &Picture, file: &str) -> Vec<Vec<String>> {
    let text = picture[file].text();
    assert!(text.is_empty() || text.ends_with('\n'), "{file} does not end in a newline");
    let lines = text.lines().filter(|line| line.contains(':') && !line.starts_with('#'));
    lines.map(|line| line.split(':').map(str::to_owned).collect()).collect()
}

#[track_caller]
pub fn assert_accounts_are_sound(picture: &Picture) {
    let files = [("/etc/passwd", 7), ("/etc/shadow", 9), ("/etc/group", 4), ("/etc/gshadow", 4)];
    let mut names: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (file, fields) in files {
        let lines = account_lines(picture, file);
        for line in &lines {
            assert_eq!(line.len(), fields, "{file}: {line:?}");
        }
        let all: Vec<String> = lines.into_iter().map(|mut line| line.remove(0)).collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "{file}: a name is there twice");
        names.insert(file, all);
    }
    let set = |file: &str| names[file].iter().cloned().collect::<BTreeSet<_>>();
    assert_eq!(set("/etc/passwd"), set("/etc/shadow"));
    assert_eq!(set("/etc/group"), set("/etc/gshadow"));
    let users = account_lines(picture, "/etc/passwd");
    let groups = account_lines(picture, "/etc/group");
    let uids: BTreeSet<&String> = users.iter().map(|user| &user[2]).collect();
    assert_eq!(uids.len(), users.len(), "two users share a uid");
    let gids: BTreeSet<&String> = groups.iter().map(|group| &group[2]).collect();
    assert_eq!(gids.len(), groups.len(), "two groups share a gid");
    for user in &users {
        assert!(gids.contains(&user[3]), "the group of {user:?} does not exist");
    }
    let hidden: BTreeMap<String, Vec<String>> =
        account_lines(picture, "/etc/gshadow").into_iter().map(|line| (line[0].clone(), line)).collect();
    for group in &groups {
        assert_eq!(hidden[&group[0]][3], group[3], "members of {}", group[0]);
        for member in group[3].split(',').filter(|member| !member.is_empty()) {
            assert!(users.iter().any(|user| user[0] == member), "{member} of {} does not exist", group[0]);
        }
    }
}

/// All texts under a key of the items of a section.
pub fn named(given: &[Value], section: &str, key: &str) -> BTreeSet<String> {
    let items = given.iter().filter_map(|settings| settings[section].as_array()).flatten();
    let values = items.flat_map(|item| match &item[key] {
        Value::String(text) => vec![text.clone()],
        Value::Array(texts) => texts.iter().map(|text| text.as_str().unwrap().to_owned()).collect(),
        _ => Vec::new(),
    });
    values.collect()
}

/// That each line of the image's account files that no settings have named is there, byte for byte and in its order.
pub fn assert_unowned_lines_survive(image: &Picture, after: &Picture, given: &[Value]) {
    let users = named(given, "users", "name");
    let mut groups = named(given, "groups", "name");
    groups.extend(named(given, "users", "groups"));
    groups.extend(named(given, "users", "group"));
    for (file, owned) in
        [("/etc/passwd", &users), ("/etc/shadow", &users), ("/etc/group", &groups), ("/etc/gshadow", &groups)]
    {
        let now = after[file].text();
        let mut now = now.lines();
        for line in image[file].text().lines().filter(|line| !owned.contains(line.split(':').next().unwrap())) {
            assert!(now.any(|other| other == line), "{file}: lost or moved `{line}`");
        }
        assert_eq!(
            (after[file].mode, after[file].uid, after[file].gid),
            (image[file].mode, image[file].uid, image[file].gid),
            "{file}"
        );
    }
}
