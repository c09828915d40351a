//! The folder as a disk sees it: what is safe, and what a cut may take.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use rand::Rng;
use rand::rngs::StdRng;

use super::trace::Event;

/// What disks write at once (ATA: 512 bytes; flash translation layers promise no more).
const SECTOR: usize = 512;

/// A change that no sync has covered yet.
#[derive(Clone, Debug)]
enum Change {
    Write { at: usize, data: Vec<u8> },
    Truncate { length: usize },
}

#[derive(Clone, Debug, Default)]
struct File {
    safe: Vec<u8>,
    unsafe_changes: Vec<Change>,
    /// How many of the changes were done when a sync began, by the sync's number.
    covered: HashMap<u64, usize>,
}

impl File {
    fn synced(&mut self, number: u64) {
        let Some(count) = self.covered.remove(&number) else { return };
        let count = count.min(self.unsafe_changes.len());
        for change in self.unsafe_changes.drain(..count) {
            apply(&mut self.safe, &change);
        }
        // Other syncs that are under way cover what is left of theirs.
        self.covered.values_mut().for_each(|covered| *covered = covered.saturating_sub(count));
    }

    /// What a cut may leave: of the sectors written since the last sync each is there or not, one of them in part.
    fn after_cut(&self, dice: &mut StdRng) -> Vec<u8> {
        let mut content = self.safe.clone();
        let luck = [0.0, 0.3, 0.7, 0.95, 1.0][dice.random_range(0..5)];
        let sectors: usize = self.unsafe_changes.iter().map(Change::sectors).sum();
        let torn = if sectors > 0 { dice.random_range(0..sectors) } else { 0 };
        let mut index = 0;
        for change in &self.unsafe_changes {
            match change {
                Change::Truncate { .. } if dice.random_bool(luck) => apply(&mut content, change),
                Change::Truncate { .. } => {}
                Change::Write { at, data } => {
                    let mut from = 0;
                    while from < data.len() {
                        // A sector is a place on the disk, not a piece of the write.
                        let length = (SECTOR - (at + from) % SECTOR).min(data.len() - from);
                        let whole = &data[from..from + length];
                        let part =
                            if index == torn { &whole[..dice.random_range(0..=length)] } else { whole };
                        if dice.random_bool(luck) {
                            apply(&mut content, &Change::Write { at: at + from, data: part.to_vec() });
                        }
                        from += length;
                        index += 1;
                    }
                }
            }
        }
        content
    }
}

impl Change {
    fn sectors(&self) -> usize {
        match self {
            Self::Write { at, data } => (at % SECTOR + data.len()).div_ceil(SECTOR),
            Self::Truncate { .. } => 0,
        }
    }
}

fn apply(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { at, data } => {
            let end = at + data.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            content[*at..end].copy_from_slice(data);
        }
        Change::Truncate { length } => content.resize(*length, 0),
    }
}

/// A change of names.
#[derive(Clone, Debug)]
enum Naming {
    Link { path: String, file: usize },
    Folder { path: String },
    Unlink { path: String },
    Rename { from: String, to: String },
}

impl Naming {
    fn folder(&self) -> &str {
        let path = match self {
            Self::Link { path, .. } | Self::Folder { path } | Self::Unlink { path } => path,
            Self::Rename { to, .. } => to,
        };
        path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }
}

#[derive(Clone, Debug, Default)]
struct Names {
    files: BTreeMap<String, usize>,
    folders: BTreeSet<String>,
}

impl Names {
    fn apply(&mut self, naming: &Naming) {
        match naming {
            Naming::Link { path, file } => drop(self.files.insert(path.clone(), *file)),
            Naming::Folder { path } => drop(self.folders.insert(path.clone())),
            Naming::Unlink { path } => drop(self.files.remove(path)),
            Naming::Rename { from, to } => {
                if let Some(file) = self.files.remove(from) {
                    self.files.insert(to.clone(), file);
                }
            }
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Disk {
    files: Vec<File>,
    now: Names,
    safe: Names,
    unsafe_names: Vec<Naming>,
}

impl Disk {
    /// A folder as it is, all of it safe.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(root: &Path) -> anyhow::Result<Self> {
        let mut disk = Self::default();
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(root.join(&folder))? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                if entry.metadata()?.is_dir() {
                    disk.now.folders.insert(path.clone());
                    folders.push(path);
                } else {
                    disk.now.files.insert(path, disk.files.len());
                    disk.files.push(File { safe: std::fs::read(entry.path())?, ..File::default() });
                }
            }
        }
        disk.safe = disk.now.clone();
        Ok(disk)
    }

    pub fn see(&mut self, event: &Event) {
        match event {
            Event::Write { path, at, data } => {
                let at = usize::try_from(*at).unwrap_or(usize::MAX);
                self.change(path, Change::Write { at, data: data.clone() });
            }
            Event::Truncate { path, length } => {
                self.change(path, Change::Truncate { length: usize::try_from(*length).unwrap_or(0) });
            }
            Event::Create { path, emptied } => {
                if !self.now.files.contains_key(path) {
                    let file = self.files.len();
                    self.files.push(File::default());
                    self.name(Naming::Link { path: path.clone(), file });
                } else if *emptied {
                    self.change(path, Change::Truncate { length: 0 });
                }
            }
            Event::Rename { from, to } => self.name(Naming::Rename { from: from.clone(), to: to.clone() }),
            Event::Unlink { path } => self.name(Naming::Unlink { path: path.clone() }),
            Event::MakeFolder { path } => self.name(Naming::Folder { path: path.clone() }),
            Event::SyncBegin { path, number } => {
                if let Some(file) = self.file(path) {
                    let covered = file.unsafe_changes.len();
                    file.covered.insert(*number, covered);
                }
            }
            Event::SyncEnd { path, number } => {
                if let Some(file) = self.file(path) {
                    file.synced(*number);
                } else if path.is_empty() || self.now.folders.contains(path) {
                    self.folder_synced(path);
                }
            }
            Event::Said { .. } => {}
        }
    }

    fn file(&mut self, path: &str) -> Option<&mut File> {
        self.now.files.get(path).and_then(|file| self.files.get_mut(*file))
    }

    fn change(&mut self, path: &str, change: Change) {
        if let Some(file) = self.file(path) {
            file.unsafe_changes.push(change);
        }
    }

    fn name(&mut self, naming: Naming) {
        self.now.apply(&naming);
        self.unsafe_names.push(naming);
    }

    fn folder_synced(&mut self, folder: &str) {
        let (safe, rest): (Vec<_>, Vec<_>) =
            self.unsafe_names.drain(..).partition(|naming| naming.folder() == folder);
        self.unsafe_names = rest;
        safe.iter().for_each(|naming| self.safe.apply(naming));
    }

    /// Makes the image of a cut at this moment in an empty folder.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn cut(&self, image: &Path, dice: &mut StdRng) -> anyhow::Result<()> {
        let mut names = self.safe.clone();
        // A file system's journal keeps the order of names: some of the newest may be missing.
        let kept = dice.random_range(0..=self.unsafe_names.len());
        self.unsafe_names[..kept].iter().for_each(|naming| names.apply(naming));
        std::fs::create_dir_all(image)?;
        for folder in &names.folders {
            std::fs::create_dir_all(image.join(folder))?;
        }
        for (path, file) in &names.files {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            if folder.is_empty() || names.folders.contains(folder) {
                std::fs::write(image.join(path), self.files[*file].after_cut(dice))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn write(at: u64, byte: u8, length: usize) -> Event {
        Event::Write { path: "a".to_owned(), at, data: vec![byte; length] }
    }

    fn sync(number: u64) -> [Event; 2] {
        let path = "a".to_owned();
        [Event::SyncBegin { path: path.clone(), number }, Event::SyncEnd { path, number }]
    }

    fn cut(events: &[Event], seed: u64) -> Option<Vec<u8>> {
        let mut disk = Disk::default();
        events.iter().for_each(|event| disk.see(event));
        let folder = tempfile::tempdir().unwrap();
        disk.cut(folder.path(), &mut StdRng::seed_from_u64(seed)).unwrap();
        std::fs::read(folder.path().join("a")).ok()
    }

    #[test]
    fn what_is_synced_stays_and_what_is_not_may_be_there_in_part() {
        let create = Event::Create { path: "a".to_owned(), emptied: true };
        let mut events = vec![create, write(0, 1, 2048)];
        events.extend(sync(1));
        events.extend([
            Event::SyncBegin { path: String::new(), number: 2 },
            Event::SyncEnd { path: String::new(), number: 2 },
        ]);
        events.push(write(512, 2, 1024));
        let mut seen = BTreeSet::new();
        for seed in 0..40 {
            let content = cut(&events, seed).expect("the name is synced");
            assert_eq!((&content[..512], &content[1536..]), (&[1; 512][..], &[1; 512][..]));
            seen.insert(content.iter().filter(|byte| **byte == 2).count());
        }
        assert!(seen.contains(&0) && seen.contains(&512) && seen.len() > 4, "{seen:?}");
    }

    #[test]
    fn a_write_that_came_after_the_sync_began_is_not_safe() {
        let path = || "a".to_owned();
        let events = [
            Event::Create { path: path(), emptied: true },
            write(0, 1, 512),
            Event::SyncBegin { path: path(), number: 1 },
            write(0, 2, 512),
            Event::SyncEnd { path: path(), number: 1 },
            Event::SyncBegin { path: String::new(), number: 2 },
            Event::SyncEnd { path: String::new(), number: 2 },
        ];
        let firsts: BTreeSet<u8> = (0..40).map(|seed| cut(&events, seed).unwrap()[0]).collect();
        assert_eq!(firsts, BTreeSet::from([1, 2]));
    }

    #[test]
    fn a_name_is_as_safe_as_its_folder() {
        let mut events = vec![Event::Create { path: "a".to_owned(), emptied: true }, write(0, 1, 100)];
        events.extend(sync(1));
        let there: BTreeSet<bool> = (0..40).map(|seed| cut(&events, seed).is_some()).collect();
        assert_eq!(there, BTreeSet::from([false, true]));
    }
}
