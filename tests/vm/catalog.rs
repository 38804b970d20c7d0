//! The images of the catalog: the programs that are in them judge what the class makes of the settings. No machine is started;
//! `make demo-app` does that.

use crate::harness::{Image, RootDisk, Scratch, SshKey, handoff, pack, program, repository, trusted_line};
use std::path::{Path, PathBuf};
use std::process::Output;

/// The tree of an image.
struct Appliance {
    scratch: Scratch,
    signer: SshKey,
}

impl Appliance {
    fn baked(class: &str) -> Self {
        let scratch = Scratch::new();
        let signer = scratch.ssh_key("signer");
        let keys = scratch.file("trusted-keys", trusted_line(&signer));
        let image = Image::appliance(class, &scratch.path().join("image"), &keys);
        let appliance = Appliance { scratch, signer };
        std::fs::create_dir(appliance.root()).unwrap();
        RootDisk::new(&image, &crate::harness::Layer::new()).unpack(&appliance.root());
        appliance
    }

    fn root(&self) -> PathBuf {
        self.scratch.path().join("root")
    }

    /// What the agent in the image says of settings in TOML. It runs on the image's tree as on its own root, for only there
    /// does it ask the programs; with a host name and a network of its own, for it is told to apply them.
    fn agent(&self, settings: &str, command: &str) -> Output {
        let written = self.scratch.file("settings.toml", settings);
        let json = handoff(&["convert", written.to_str().unwrap()]);
        let disk = pack(&self.scratch, "settings", &json, &self.signer);
        std::fs::copy(disk, self.root().join("settings.img")).unwrap();
        let script = "mount --bind \"$0\" \"$0\" && cd \"$0\" && mount -t proc proc proc && mount --bind /dev dev && exec chroot . \"$@\"";
        let mut alone = program("timeout");
        // Not as the first process of a namespace: there the agent takes itself for PID 1, and starts the init.
        alone.args(["--kill-after=5", "60", "unshare", "--mount", "--uts", "--net", "--ipc", "sh", "-c", script]);
        alone.arg(self.root()).args(["/usr/sbin/handoff-agent", "--source", "file:/settings.img", command]);
        alone.output().unwrap()
    }
}

fn shop(name: &str) -> String {
    let path = repository().join("catalog/examples/shop").join(name).with_extension("toml");
    std::fs::read_to_string(path).unwrap()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn the_programs_in_the_images_take_what_the_shop_makes_of_them() {
    for (class, names) in [("haproxy", &["lb"][..]), ("nginx", &["web1", "web2"]), ("postgresql", &["db"])] {
        let appliance = Appliance::baked(class);
        for name in names {
            let output = appliance.agent(&shop(name), "plan");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && !said.contains("not judged"), "{name}: {said}");
        }
        let target = match class {
            "haproxy" => "etc/haproxy/haproxy.cfg",
            "nginx" => "etc/nginx/nginx.conf",
            _ => "etc/postgresql/conf.d/settings.conf",
        };
        assert_eq!(read(&appliance.root().join(target)), "", "a plan, or the package, left {target}");
    }
}

#[test]
fn what_haproxy_refuses_leaves_the_guest_as_it_was_and_is_said_in_its_own_words() {
    let appliance = Appliance::baked("haproxy");
    let settings = shop("lb").replace("port = 80 }]", "port = 443, tls = true }]");
    assert!(settings.contains("tls = true"), "{settings}");
    let output = appliance.agent(&settings, "apply");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(12), "{said}");
    assert!(
        said.contains("is refused by /usr/sbin/haproxy") && said.contains("/etc/haproxy/certificate.pem"),
        "{said}"
    );
    assert!(!said.contains("a-secret-of-the-balancer"), "{said}");
    assert!(!appliance.root().join("etc/haproxy/haproxy.cfg").exists(), "a file of the refused settings is there");
    assert_eq!(read(&appliance.root().join("etc/hostname")), "appliance\n");
}
