//! A layer written into a directory of the host.

use super::layer::{Entry, Layer};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// Writes the layer below `root`. A directory on the way that is not there gets the mode that it has below `like`, so
/// that a tree laid over another one does not change the modes of that one; 0755 where there is none.
pub fn write(root: &Path, layer: &Layer, like: Option<&Path>) {
    fs::create_dir_all(root).unwrap();
    for entry in &layer.entries {
        let inside = Path::new(entry.path().trim_start_matches('/'));
        let mut parents: Vec<&Path> = inside.ancestors().skip(1).filter(|p| !p.as_os_str().is_empty()).collect();
        parents.reverse();
        for parent in parents {
            let dir = root.join(parent);
            if !dir.is_dir() {
                let model = like.and_then(|like| fs::metadata(like.join(parent)).ok());
                fs::create_dir(&dir).unwrap();
                let mode = model.map_or(0o755, |model| model.permissions().mode());
                fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).unwrap();
            }
        }
        let path = root.join(inside);
        match entry {
            Entry::File { mode, content, .. } => {
                let _ = fs::remove_file(&path);
                fs::write(&path, content).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
            }
            Entry::Directory { mode, .. } => {
                fs::create_dir_all(&path).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
            }
            Entry::Link { target, .. } => {
                let _ = fs::remove_file(&path);
                symlink(target, &path).unwrap();
            }
        }
    }
}
