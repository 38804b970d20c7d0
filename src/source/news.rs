//! What has come since settings were refused: for a guest that has stopped and waits for corrected ones.
//!
//! In a boot two settings disks are an error. Here the first was judged already, and the one that comes after it is the
//! answer to that. So what was refused is passed over for as long as it stays as it is.

use super::discovery::{Medium, disks, sequence, the_one};
use super::spec::{self, Spec};
use super::{Found, Places};
use crate::error::{Error, Result};
use std::collections::BTreeSet;

/// What a look has brought.
#[derive(Debug)]
pub enum News {
    /// Nothing that was not refused before.
    Nothing,
    /// Settings that nobody has judged yet.
    Found(Medium, Found),
    /// Something of ours that is broken.
    Broken(Medium, Error),
    /// Nothing can be taken as it is, whatever the disks hold: two at once, or a disk that may not be read.
    Unclear(Error),
}

/// Looks at these places once, without waiting, and passes over what was refused. The first of the places that has something
/// new counts.
pub fn news(specs: &[Spec], places: &Places, refused: &BTreeSet<Medium>) -> News {
    let looks = specs.iter().map(|spec| match spec {
        Spec::Auto => any_disk(places, refused),
        Spec::Disk(_) | Spec::File(_) => named(spec, places, refused),
    });
    looks.into_iter().find(|news| !matches!(news, News::Nothing)).unwrap_or(News::Nothing)
}

fn any_disk(places: &Places, refused: &BTreeSet<Medium>) -> News {
    let (disks, denied) = disks(places, refused);
    let mut good = Vec::new();
    for (medium, content) in disks {
        match content {
            Ok(found) => good.push((medium, found)),
            Err(error) => return News::Broken(medium, error),
        }
    }
    if good.len() > 1 {
        let found = good.into_iter().map(|(_, found)| found).collect();
        return the_one(found).err().map_or(News::Nothing, News::Unclear);
    }
    match (good.pop(), denied) {
        (Some((medium, found)), _) => News::Found(medium, found),
        (None, Some(error)) => News::Unclear(error),
        (None, None) => News::Nothing,
    }
}

fn named(spec: &Spec, places: &Places, refused: &BTreeSet<Medium>) -> News {
    let sequence = match spec {
        // A link such as /dev/cdrom is followed for the name.
        Spec::Disk(path) => std::fs::canonicalize(path)
            .ok()
            .and_then(|path| Some(sequence(places, path.file_name()?.to_str()?)))
            .unwrap_or_default(),
        _ => String::new(),
    };
    let looked: Result<Option<Found>> = spec::load(spec, places);
    match looked {
        Ok(None) => News::Nothing,
        Ok(Some(Found { blob, place })) => {
            let blob = Ok(blob);
            let medium = Medium::new(&place, &sequence, &blob);
            match blob {
                Ok(blob) if !refused.contains(&medium) => News::Found(medium, Found { blob, place }),
                _ => News::Nothing,
            }
        }
        Err(error) => {
            let medium = Medium::new(&spec.to_string(), &sequence, &Err(error.clone()));
            if refused.contains(&medium) { News::Nothing } else { News::Broken(medium, error) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::{Blob, container};
    use std::fs;
    use std::path::Path;
    use tempfile::TempDir;

    fn machine() -> (TempDir, Places) {
        let directory = tempfile::tempdir().unwrap();
        let places = Places { sys_class_block: directory.path().join("class"), dev: directory.path().join("dev") };
        fs::create_dir(&places.sys_class_block).unwrap();
        fs::create_dir(&places.dev).unwrap();
        (directory, places)
    }

    fn put(places: &Places, name: &str, sequence: u32, content: &[u8]) {
        let sys = places.sys_class_block.join(name);
        fs::create_dir_all(&sys).unwrap();
        fs::write(sys.join("diskseq"), format!("{sequence}\n")).unwrap();
        fs::write(sys.join("size"), "8\n").unwrap();
        fs::write(places.dev.join(name), content).unwrap();
    }

    fn disk(text: &str) -> Vec<u8> {
        container::encode(&Blob::new("test", text.into(), None).unwrap())
    }

    /// The text that was found; `None` for no news. Whatever it is, it is refused from now on.
    fn found(places: &Places, refused: &mut BTreeSet<Medium>) -> Option<String> {
        match news(&[Spec::Auto], places, refused) {
            News::Nothing => None,
            News::Found(medium, found) => {
                refused.insert(medium);
                Some(String::from_utf8(found.blob.settings().to_vec()).unwrap())
            }
            News::Broken(medium, error) => {
                refused.insert(medium);
                Some(format!("broken: {}", error.object()))
            }
            News::Unclear(error) => Some(format!("unclear: {}", error.problem())),
        }
    }

    #[test]
    fn a_disk_that_comes_beside_the_refused_one_is_news_and_the_refused_one_is_not() {
        let (_directory, places) = machine();
        let mut refused = BTreeSet::new();
        assert_eq!(found(&places, &mut refused), None);
        put(&places, "vdb", 1, &disk("forged"));
        assert_eq!(found(&places, &mut refused).as_deref(), Some("forged"));
        assert_eq!(found(&places, &mut refused), None);
        put(&places, "vdc", 2, &disk("good"));
        assert_eq!(found(&places, &mut refused).as_deref(), Some("good"));
        assert_eq!(found(&places, &mut refused), None);
    }

    #[test]
    fn another_medium_under_the_same_name_is_news_also_where_it_holds_the_same() {
        let (_directory, places) = machine();
        let mut refused = BTreeSet::new();
        put(&places, "sr0", 1, &disk("one"));
        assert_eq!(found(&places, &mut refused).as_deref(), Some("one"));
        put(&places, "sr0", 2, &disk("one"));
        assert_eq!(found(&places, &mut refused).as_deref(), Some("one"));
        // The host has written to it, and the kernel knows nothing of that.
        put(&places, "sr0", 2, &disk("two"));
        assert_eq!(found(&places, &mut refused).as_deref(), Some("two"));
        assert_eq!(found(&places, &mut refused), None);
    }

    #[test]
    fn a_broken_disk_is_told_once_and_hides_no_good_one() {
        let (_directory, places) = machine();
        let mut refused = BTreeSet::new();
        put(&places, "vdb", 1, &disk("cut off")[..50]);
        put(&places, "vdc", 2, &disk("good"));
        let broken = format!("broken: {}", places.dev.join("vdb").display());
        assert_eq!(found(&places, &mut refused), Some(broken));
        assert_eq!(found(&places, &mut refused).as_deref(), Some("good"));
        assert_eq!(found(&places, &mut refused), None);
    }

    #[test]
    fn of_two_that_come_at_once_none_is_chosen_until_one_is_gone() {
        let (_directory, places) = machine();
        let mut refused = BTreeSet::new();
        put(&places, "vdb", 1, &disk("one"));
        put(&places, "vdc", 2, &disk("two"));
        let unclear = "unclear: are all settings disks, and only one may be there";
        assert_eq!(found(&places, &mut refused).as_deref(), Some(unclear));
        fs::remove_dir_all(places.sys_class_block.join("vdb")).unwrap();
        assert_eq!(found(&places, &mut refused).as_deref(), Some("two"));
    }

    #[test]
    fn a_disk_or_file_that_is_named_is_news_once() {
        let (directory, places) = machine();
        put(&places, "vdb", 1, &disk("one"));
        let path = |name: &str| directory.path().join(name);
        fs::write(path("file"), "nothing of ours").unwrap();
        let is_news =
            |spec: &Spec, refused: &mut BTreeSet<Medium>| match news(std::slice::from_ref(spec), &places, refused) {
                News::Found(medium, _) | News::Broken(medium, _) => refused.insert(medium),
                News::Nothing | News::Unclear(_) => false,
            };
        let refused = &mut BTreeSet::new();
        for spec in [Spec::Disk(path("dev/vdb")), Spec::File(path("file"))] {
            assert!(is_news(&spec, refused), "{spec}");
            assert!(!is_news(&spec, refused), "{spec}");
        }
        put(&places, "vdb", 2, &disk("one"));
        assert!(is_news(&Spec::Disk(path("dev/vdb")), refused));
        assert!(!is_news(&Spec::Disk(Path::new("/nonexistent").into()), refused));
    }
}
