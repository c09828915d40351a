//! The preloaded library, and what it writes down.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;

/// One thing that the program did in the folder, or said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Write {
        path: String,
        at: u64,
        data: Vec<u8>,
    },
    Truncate {
        path: String,
        length: u64,
    },
    SyncBegin {
        path: String,
        number: u64,
    },
    SyncEnd {
        path: String,
        number: u64,
    },
    Create {
        path: String,
        emptied: bool,
    },
    Rename {
        from: String,
        to: String,
    },
    Unlink {
        path: String,
    },
    MakeFolder {
        path: String,
    },
    /// On standard error.
    Said {
        text: String,
    },
}

/// The compiled library, and where it writes.
#[derive(Debug)]
pub struct Tracer {
    library: PathBuf,
    trace: PathBuf,
    root: PathBuf,
}

impl Tracer {
    /// For what happens below `root`. Library and trace are put into `scratch`.
    ///
    /// # Errors
    /// When the C compiler is missing or fails; a build needs one anyway.
    pub fn build(scratch: &Path, root: &Path) -> anyhow::Result<Self> {
        let source = scratch.join("trace.c");
        std::fs::write(&source, include_str!("trace.c"))?;
        let library = scratch.join("trace.so");
        let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
        let output = Command::new(&compiler)
            .args(["-shared", "-fPIC", "-O1", "-D_LARGEFILE64_SOURCE", "-o"])
            .args([&library, &source])
            .args(["-ldl", "-lpthread"])
            .output()
            .with_context(|| format!("cannot run the C compiler {}", compiler.display()))?;
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(Self { library, trace: scratch.join("trace"), root: root.to_owned() })
    }

    /// Starts `program` with the library in it; what it says goes to `log` as well.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(
        &self,
        program: &Path,
        arguments: &[&str],
        log: &Path,
    ) -> anyhow::Result<std::process::Child> {
        Ok(Command::new(program)
            .args(arguments)
            .env("LD_PRELOAD", &self.library)
            .env("AVL_FLASH_TRACE", &self.trace)
            .env("AVL_FLASH_ROOT", &self.root)
            .env("RUST_LOG", "info,avl_edge::buffer=debug")
            // Each claim counts, however often the same is said.
            .env("AVL_EDGE__LOG__REPEAT_PER_MINUTE", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(log)?)
            .spawn()?)
    }

    /// What was written down so far.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn events(&self) -> anyhow::Result<Vec<Event>> {
        Ok(read(&std::fs::read(&self.trace)?))
    }
}

/// Up to the first event that is not whole: the program was killed while it wrote it.
#[must_use]
pub fn read(bytes: &[u8]) -> Vec<Event> {
    let mut rest = bytes;
    std::iter::from_fn(|| take(&mut rest)).collect()
}

fn take(rest: &mut &[u8]) -> Option<Event> {
    let (head, behind) = rest.split_at_checked(17)?;
    let number = |from: usize, to: usize| {
        head[from..to].iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte))
    };
    let length = |from: usize, to: usize| usize::try_from(number(from, to)).ok();
    let (first, second, data) = (length(1, 3)?, length(3, 5)?, length(13, 17)?);
    let at = number(5, 13);
    let (path, behind) = behind.split_at_checked(first)?;
    let (other, behind) = behind.split_at_checked(second)?;
    let (data, behind) = behind.split_at_checked(data)?;
    *rest = behind;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let path = text(path);
    Some(match head[0] {
        1 => Event::Write { path, at, data: data.to_vec() },
        2 => Event::Truncate { path, length: at },
        3 => Event::SyncBegin { path, number: at },
        4 => Event::SyncEnd { path, number: at },
        5 => Event::Create { path, emptied: at == 1 },
        6 => Event::Rename { from: path, to: text(other) },
        7 => Event::Unlink { path },
        8 => Event::MakeFolder { path },
        _ => Event::Said { text: text(data) },
    })
}
