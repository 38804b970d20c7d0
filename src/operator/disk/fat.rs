//! A FAT12 volume in the layout of a 1.44 MB floppy disk, which every system reads and which always has room for a blob.

use crate::trust::Blob;
use fatfs::{Date, DateTime, FatType, FileSystem, FormatVolumeOptions, FsOptions, Time, TimeProvider};
use std::io::{self, Cursor, Write as _};

/// 80 tracks, 2 sides, 18 sectors of 512 bytes.
const SIZE: usize = 80 * 2 * 18 * 512;

/// The time of every file: the first that FAT can state. The clock must not decide the bytes of an image.
#[derive(Debug)]
struct Beginning;

const FIRST_DAY: Date = Date { year: 1980, month: 1, day: 1 };

impl TimeProvider for Beginning {
    fn get_current_date(&self) -> Date {
        FIRST_DAY
    }

    fn get_current_date_time(&self) -> DateTime {
        DateTime { date: FIRST_DAY, time: Time { hour: 0, min: 0, sec: 0, millis: 0 } }
    }
}

/// The volume with the two files.
pub(super) fn image(blob: &Blob) -> io::Result<Vec<u8>> {
    let mut image = vec![0; SIZE];
    let options = FormatVolumeOptions::new()
        .fat_type(FatType::Fat12)
        .bytes_per_cluster(512)
        .max_root_dir_entries(224)
        .media(0xf0)
        .sectors_per_track(18)
        .heads(2)
        .drive_num(0)
        // Not a number that means anything: it must be there, and the same every time.
        .volume_id(0x4841_4e44)
        .volume_label(*b"HANDOFF    ");
    fatfs::format_volume(Cursor::new(&mut image), options)?;
    let volume = FileSystem::new(Cursor::new(&mut image), FsOptions::new().time_provider(&Beginning))?;
    let files = [("settings.json", Some(blob.settings())), ("settings.json.sig", blob.signature())];
    for (name, content) in files {
        if let Some(content) = content {
            let mut file = volume.root_dir().create_file(name)?;
            file.write_all(content)?;
            file.flush()?;
        }
    }
    volume.unmount()?;
    Ok(image)
}
