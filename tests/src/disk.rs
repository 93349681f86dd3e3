//! A disk that loses power: a filesystem of its own in a file, mounted through a loop device, that can be
//! shut down so that everything that was not synced is lost.
//!
//! The shutdown is the kernel's own (`EXT4_IOC_SHUTDOWN` without flushing the journal). It takes root and a
//! loop device.

use std::{
    fs::{self, File},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    process::Command,
};

/// `_IOR('X', 125, __u32)`.
const EXT4_IOC_SHUTDOWN: libc::c_ulong = 0x8004_587d;
/// Neither data nor journal is written any more.
const WITHOUT_FLUSH: u32 = 2;

/// A mounted disk. Dropping it unmounts it.
#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
    at: PathBuf,
}

impl Disk {
    /// Makes a disk of so many MiB in `image` and mounts it at `at`.
    ///
    /// # Errors
    /// What this machine lacks.
    pub fn make(image: &Path, at: &Path, mib: u64) -> Result<Self, String> {
        let failed = |error: std::io::Error| error.to_string();
        File::create(image).and_then(|file| file.set_len(mib << 20)).map_err(failed)?;
        fs::create_dir_all(at).map_err(failed)?;
        run("mkfs.ext4", &["-q", "-F", text(image)])?;
        let disk = Self { image: image.to_path_buf(), at: at.to_path_buf() };
        disk.mount()?;
        Ok(disk)
    }

    /// Whether this machine can: tried once, small.
    ///
    /// # Errors
    /// Why not.
    pub fn works() -> Result<(), String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        Self::make(&folder.path().join("image"), &folder.path().join("disk"), 8)?.cut_power()
    }

    /// Where it is mounted.
    #[must_use]
    pub fn at(&self) -> &Path {
        &self.at
    }

    /// From now on nothing is written any more, and what was not synced is lost.
    ///
    /// # Errors
    /// What the system says.
    #[expect(unsafe_code, reason = "the standard library has no ioctl")]
    pub fn cut_power(&self) -> Result<(), String> {
        let folder = File::open(&self.at).map_err(|error| error.to_string())?;
        let how = WITHOUT_FLUSH;
        // SAFETY: the descriptor is open and `how` is the number that this ioctl reads.
        let done = unsafe { libc::ioctl(folder.as_raw_fd(), EXT4_IOC_SHUTDOWN, &raw const how) };
        if done == 0 { Ok(()) } else { Err(format!("shutdown: {}", std::io::Error::last_os_error())) }
    }

    /// The power is back. Nobody may have a file of it open.
    ///
    /// # Errors
    /// What the system says.
    pub fn restore_power(&self) -> Result<(), String> {
        run("umount", &[text(&self.at)])?;
        self.mount()
    }

    fn mount(&self) -> Result<(), String> {
        run("mount", &["-o", "loop", text(&self.image), text(&self.at)])
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a process that is still ending may have a file open.
        let _ = run("umount", &["-l", text(&self.at)]);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output =
        Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
