//! The pty: the receiver holds the master side, the reader opens the slave by its path.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, QueueSelector};
use tokio::io::unix::AsyncFd;

#[derive(Debug)]
pub(super) struct Port {
    master: AsyncFd<OwnedFd>,
    /// Held open, so that the port neither hangs up nor forgets its settings when a reader dies.
    slave: OwnedFd,
    path: PathBuf,
    link: Option<PathBuf>,
}

impl Port {
    pub(super) fn open(link: Option<&Path>) -> anyhow::Result<Self> {
        let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)
            .context("no pseudo-terminal to be had: is /dev/pts mounted?")?;
        rustix::pty::grantpt(&master)?;
        rustix::pty::unlockpt(&master)?;
        let name = rustix::pty::ptsname(&master, Vec::new())?;
        let path = PathBuf::from(name.into_string().context("pseudo-terminal has a strange name")?);
        let slave = rustix::fs::open(
            &path,
            rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        )
        .with_context(|| format!("{} cannot be opened", path.display()))?;
        let mut settings = rustix::termios::tcgetattr(&slave)?;
        settings.make_raw();
        rustix::termios::tcsetattr(&slave, OptionalActions::Now, &settings)?;

        let flags = rustix::fs::fcntl_getfl(&master)?;
        rustix::fs::fcntl_setfl(&master, flags | rustix::fs::OFlags::NONBLOCK)?;
        if let Some(link) = link {
            let _ = std::fs::remove_file(link);
            std::os::unix::fs::symlink(&path, link)
                .with_context(|| format!("{} cannot be made", link.display()))?;
        }
        // SAFETY: an `OwnedFd` is a valid, open descriptor, always the same one, until it is dropped, and the
        // `AsyncFd` that owns it from here on is the only one to drop it.
        #[allow(unsafe_code)]
        let master = unsafe { AsyncFd::register(master) }?;
        Ok(Self { master, slave, path, link: link.map(Path::to_owned) })
    }

    /// What a reader opens.
    pub(super) fn path(&self) -> &Path {
        self.link.as_deref().unwrap_or(&self.path)
    }

    /// Writes some of `bytes` as soon as there is room. Cancelling it loses nothing.
    pub(super) async fn write_some(&self, bytes: &[u8]) -> io::Result<usize> {
        self.master
            .async_io(tokio::io::Interest::WRITABLE, |master| {
                rustix::io::write(master, bytes).map_err(io::Error::from)
            })
            .await
    }

    /// Throws away what nobody has read yet, as an unplugged receiver does.
    pub(super) fn discard_unread(&self) -> io::Result<()> {
        rustix::termios::tcflush(&self.slave, QueueSelector::IOFlush)?;
        Ok(())
    }

    /// Lets the next reader in: a killed one leaves its exclusive claim behind, because the port stays open.
    pub(super) fn release_claim(&self) -> io::Result<()> {
        rustix::termios::ioctl_tiocnxcl(&self.slave)?;
        Ok(())
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        if let Some(link) = &self.link {
            let _ = std::fs::remove_file(link);
        }
    }
}
