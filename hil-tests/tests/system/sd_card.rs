//! A card made by `cross/flash-sd.sh` holds what a gateway needs to start by itself, and its file systems are sound.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use hil_tests::project_root;

const SECTOR: usize = 512;
const BOOT_SECTOR: usize = 2048;
const ROOT_SECTOR: usize = 20_480;

fn run(folder: &Path, script: &str) -> anyhow::Result<String> {
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &format!("PATH=$PATH:/sbin:/usr/sbin\n{script}")])
        .current_dir(folder)
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    anyhow::ensure!(
        output.status.success(),
        "{script}: {}{said}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(said)
}

/// An image with a boot and a root partition, and a package, as small as the tools allow.
fn make_image(folder: &Path) -> anyhow::Result<()> {
    run(
        folder,
        &format!(
            "truncate -s 64M board.img
             printf 'label: dos\\n{BOOT_SECTOR},16384,c\\n{ROOT_SECTOR},,83\\n' | sfdisk -q board.img
             mkfs.vfat --offset {BOOT_SECTOR} board.img 8192
             mkdir -p root/etc root/var package/DEBIAN
             mkfs.ext4 -q -F -d root -E offset={} board.img 54m
             printf 'Package: avl-edge\\nVersion: 1\\nArchitecture: arm64\\nMaintainer: test\\nDescription: test\\n' > package/DEBIAN/control
             dpkg-deb --build package avl-edge.deb
             xz -0 --keep board.img",
            ROOT_SECTOR * SECTOR
        ),
    )
    .map(drop)
}

#[test]
fn a_flashed_card_carries_package_configuration_and_enrolment() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    make_image(folder.path()).context("the tools of scripts/setup.sh test are needed")?;
    std::fs::write(folder.path().join("avl-enrol.txt"), "avl-enrol:?url=https://a:1&token=avl1.x\n")?;
    std::fs::write(folder.path().join("gateway.toml"), "# the gateway's\n")?;
    let script = project_root().join("cross/flash-sd.sh");
    run(
        folder.path(),
        &format!(
            "{} --image board.img.xz --deb avl-edge.deb --config gateway.toml --enrolment avl-enrol.txt --out card.img",
            script.display()
        ),
    )?;

    let boot = BOOT_SECTOR * SECTOR;
    assert!(
        run(folder.path(), &format!("mtype -i card.img@@{boot} ::avl-enrol.txt"))?
            .starts_with("avl-enrol:?url=")
    );
    run(
        folder.path(),
        &format!(
            "dd if=card.img of=root.img bs={SECTOR} skip={ROOT_SECTOR} status=none; e2fsck -fn root.img"
        ),
    )?;
    let read = |path: &str| run(folder.path(), &format!("debugfs -R 'cat {path}' root.img 2>/dev/null"));
    assert_eq!(read("/etc/avl-edge.toml")?, "# the gateway's\n");
    assert!(
        read("/etc/systemd/system/avl-edge-firstboot.service")?.contains("dpkg --force-confold --install")
    );
    let started = "/etc/systemd/system/multi-user.target.wants/avl-edge-firstboot.service";
    assert!(
        run(folder.path(), &format!("debugfs -R 'stat {started}' root.img 2>/dev/null"))?
            .contains("Type: symlink")
    );
    run(
        folder.path(),
        "debugfs -R 'dump /var/cache/avl-edge/avl-edge.deb copy.deb' root.img; cmp copy.deb avl-edge.deb",
    )?;
    Ok(())
}

#[test]
fn what_is_no_card_image_is_refused_with_the_cause() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    make_image(folder.path())?;
    let script = project_root().join("cross/flash-sd.sh").display().to_string();
    let refused =
        |arguments: &str| run(folder.path(), &format!("{script} {arguments}")).unwrap_err().to_string();
    std::fs::write(folder.path().join("notes.txt"), "no image")?;
    assert!(refused("--image notes.txt --deb avl-edge.deb --out x.img").contains("no partition table"));
    assert!(refused("--image board.img --deb notes.txt --out x.img").contains("not a package of avl-edge"));
    assert!(
        refused("--image board.img --deb avl-edge.deb --device notes.txt").contains("not a block device")
    );
    assert!(
        refused("--image nowhere.img --deb avl-edge.deb --out x.img").contains("cannot read nowhere.img")
    );
    Ok(())
}
