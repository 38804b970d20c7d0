//! Trust against the real `ssh-keygen`: what it signs is believed, what it refuses is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use ed25519_dalek::{Signer, SigningKey};
use handoff::trust::{Authority, Blob, Clock, Requirement, TrustedKeys, Verified, container, verify};
use handoff::{Class, Result};
use sha2::{Digest, Sha256};
use ssh_key::public::{Ed25519PublicKey, KeyData, SkEd25519};
use ssh_key::{Algorithm, HashAlg, LineEnding, PublicKey, Signature, SshSig};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

const SETTINGS: &[u8] = b"{\"version\":1,\"hostname\":\"lb-eu-1\"}\n";
const PRINCIPAL: &str = "ops@example.net";

/// A directory with `settings.json`, and keys made by `ssh-keygen`.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        let bench = Bench(tempfile::tempdir().unwrap());
        fs::write(bench.path("settings.json"), SETTINGS).unwrap();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A new key. Its public half: type and base64.
    fn key(&self, name: &str, options: &[&str]) -> String {
        run(Command::new("ssh-keygen").args(["-q", "-N", "", "-C", "", "-f"]).arg(self.path(name)).args(options));
        fs::read_to_string(self.path(&format!("{name}.pub"))).unwrap().trim().to_owned()
    }

    /// What `ssh-keygen -Y sign` makes of the settings.
    fn sign(&self, key: &str, namespace: &str, options: &[&str]) -> Vec<u8> {
        let signature = self.path("settings.json.sig");
        let _ = fs::remove_file(&signature);
        run(Command::new("ssh-keygen")
            .args(["-Y", "sign", "-n", namespace, "-f"])
            .arg(self.path(key))
            .args(options)
            .arg(self.path("settings.json")));
        fs::read(signature).unwrap()
    }

    /// Whether `ssh-keygen -Y verify` accepts this signature of the settings.
    fn ssh_keygen_accepts(&self, trusted_keys: &str, signature: &[u8]) -> bool {
        fs::write(self.path("trusted-keys"), trusted_keys).unwrap();
        fs::write(self.path("candidate.sig"), signature).unwrap();
        Command::new("ssh-keygen")
            .env("TZ", "UTC")
            .args(["-Y", "verify", "-n", "handoff-settings", "-I", PRINCIPAL, "-f"])
            .arg(self.path("trusted-keys"))
            .arg("-s")
            .arg(self.path("candidate.sig"))
            .stdin(File::open(self.path("settings.json")).unwrap())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .success()
    }
}

fn run(command: &mut Command) {
    let output = command.output().expect("ssh-keygen is installed");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The clock of this machine, which `ssh-keygen` uses too.
fn clock() -> Clock {
    Clock { now: SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs(), floor: 1_700_000_000 }
}

fn judge(settings: &[u8], signature: &[u8], trusted_keys: &str) -> Result<Verified> {
    let keys = TrustedKeys::parse("trusted-keys", trusted_keys.as_bytes())?;
    let blob = Blob::new("/dev/vdb", settings.to_vec(), Some(signature.to_vec()))?;
    verify("/dev/vdb", blob, Requirement::Signature, &keys, None, clock())
}

/// That it is refused for this reason, and says so in one line that names the place.
#[track_caller]
fn refused(result: Result<Verified>, reason: &str) {
    let error = result.expect_err(reason);
    assert_eq!(error.class(), Class::NotVerified);
    assert!(error.problem().contains(reason), "{error}");
    assert_eq!(error.to_string().lines().count(), 1);
    assert!(error.object().starts_with("/dev/vdb") || error.object().starts_with("trusted-keys line"), "{error}");
}

fn fingerprint(path: &Path) -> String {
    let output = Command::new("ssh-keygen").arg("-lf").arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').nth(1).unwrap().to_owned()
}

#[test]
fn what_ssh_keygen_signs_is_believed() {
    let bench = Bench::new();
    let key = bench.key("ops", &["-t", "ed25519"]);
    for options in [&[][..], &["-O", "hashalg=sha256"], &["-O", "hashalg=sha512"]] {
        let signature = bench.sign("ops", "handoff-settings", options);
        let verified = judge(SETTINGS, &signature, &format!("{PRINCIPAL} {key}\n")).unwrap();
        assert_eq!(verified.settings(), SETTINGS);
        assert_eq!(verified.signature(), Some(&signature[..]));
        let fingerprint = fingerprint(&bench.path("ops.pub"));
        assert_eq!(verified.authority().to_string(), format!("signed by {PRINCIPAL} ({fingerprint})"));
        assert_eq!(*verified.authority(), Authority::Signature { principal: PRINCIPAL.to_owned(), fingerprint });
    }
}

#[test]
fn the_digest_is_the_one_sha256sum_prints() {
    let bench = Bench::new();
    let output = Command::new("sha256sum").arg(bench.path("settings.json")).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let blob = Blob::new("x", SETTINGS.to_vec(), None).unwrap();
    assert!(printed.starts_with(&blob.digest().hex()), "{printed}");
}

#[test]
fn what_is_not_signed_by_a_trusted_key_for_settings_is_refused() {
    let bench = Bench::new();
    let ops = bench.key("ops", &["-t", "ed25519"]);
    let other = bench.key("other", &["-t", "ed25519"]);
    let trusted = format!("{PRINCIPAL} {ops}\n");
    let good = bench.sign("ops", "handoff-settings", &[]);

    refused(judge(SETTINGS, &good, ""), "trusts no key");
    refused(judge(SETTINGS, &good, &format!("{PRINCIPAL} {other}\n")), "not a trusted key");
    refused(judge(SETTINGS, &bench.sign("ops", "git", &[]), &trusted), "namespace \"git\"");
    refused(judge(SETTINGS, &bench.sign("other", "handoff-settings", &[]), &trusted), "not a trusted key");
    for at in 0..SETTINGS.len() {
        let mut changed = SETTINGS.to_vec();
        changed[at] ^= 1;
        refused(judge(&changed, &good, &trusted), "does not match");
    }
    refused(judge(&SETTINGS[1..], &good, &trusted), "does not match");
    refused(judge(SETTINGS, SETTINGS, &trusted), "not an SSH signature");

    let blob = Blob::new("/dev/vdb", SETTINGS.to_vec(), None).unwrap();
    let keys = TrustedKeys::parse("trusted-keys", trusted.as_bytes()).unwrap();
    refused(verify("/dev/vdb", blob, Requirement::Signature, &keys, None, clock()), "not signed");
}

#[test]
fn keys_of_other_types_cannot_sign_settings_even_where_they_are_listed() {
    let bench = Bench::new();
    for (name, options) in [
        ("rsa", &["-t", "rsa", "-b", "2048"][..]),
        ("ecdsa256", &["-t", "ecdsa", "-b", "256"]),
        ("ecdsa521", &["-t", "ecdsa", "-b", "521"]),
    ] {
        let key = bench.key(name, options);
        let signature = bench.sign(name, "handoff-settings", &[]);
        refused(judge(SETTINGS, &signature, &format!("{PRINCIPAL} {key}\n")), "not supported");
    }
}

#[test]
fn keys_that_cannot_sign_settings_do_not_break_the_list() {
    let bench = Bench::new();
    let ops = bench.key("ops", &["-t", "ed25519"]);
    let mut list = String::new();
    for (name, kind) in [("rsa", "rsa"), ("ecdsa", "ecdsa"), ("dsa", "dsa")] {
        list += &format!("{name}@example.net {}\n", bench.key(name, &["-t", kind]));
    }
    list += &format!("{PRINCIPAL} {ops}\n");

    let keys = TrustedKeys::parse("trusted-keys", list.as_bytes()).unwrap();
    let usable: Vec<bool> = keys.iter().map(|key| key.key().is_some()).collect();
    assert_eq!(usable, [false, false, false, true]);
    let own = keys.iter().last().unwrap();
    assert_eq!(own.fingerprint(), Some(fingerprint(&bench.path("ops.pub"))));
    assert!(judge(SETTINGS, &bench.sign("ops", "handoff-settings", &[]), &list).is_ok());
}

#[test]
fn certificates_are_refused_by_name() {
    let bench = Bench::new();
    let ops = bench.key("ops", &["-t", "ed25519"]);
    bench.key("ca", &["-t", "ed25519"]);
    run(Command::new("ssh-keygen")
        .args(["-q", "-I", "id", "-n", PRINCIPAL, "-s"])
        .arg(bench.path("ca"))
        .arg(bench.path("ops.pub")));
    let certificate = fs::read_to_string(bench.path("ops-cert.pub")).unwrap();
    refused(judge(SETTINGS, b"x", &format!("{PRINCIPAL} {certificate}")), "certificate");
    let signature = bench.sign("ops-cert.pub", "handoff-settings", &[]);
    refused(judge(SETTINGS, &signature, &format!("{PRINCIPAL} {ops}\n")), "not supported");
}

#[test]
fn a_list_of_trusted_keys_means_what_it_means_to_ssh_keygen() {
    let bench = Bench::new();
    let key = bench.key("ops", &["-t", "ed25519"]);
    let other = bench.key("other", &["-t", "ed25519"]);
    let rsa = bench.key("rsa", &["-t", "rsa", "-b", "2048"]);
    let signature = bench.sign("ops", "handoff-settings", &[]);
    let who = PRINCIPAL;
    let good = format!("{who} {key}");
    let cut = &key[..key.len() - 4];

    let table = [
        (good.clone(), true),
        (format!("{good} with a comment"), true),
        (format!("{good}\r"), true),
        (format!("  \t{who}\t{key}"), true),
        (format!("# comment\n\n   # more\n{good}"), true),
        (format!("\"{who}\" {key}"), true),
        (format!("*@example.net,!x@example.net {key}"), true),
        (format!("{who} {other}"), false),
        (format!("{who} {other}\n{who} {rsa}\n{good}"), true),
        (format!("{who} namespaces=\"handoff-settings\" {key}"), true),
        (format!("{who} NAMESPACES=\"handoff-settings\" {key}"), true),
        (format!("{who} namespaces=\"git,handoff-*\" {key}"), true),
        (format!("{who} namespaces=\"handoff-setting?\" {key}"), true),
        (format!("{who} namespaces=\"handoff-setting\" {key}"), false),
        (format!("{who} namespaces=\"HANDOFF-settings\" {key}"), false),
        (format!("{who} namespaces=\"*,!handoff-settings\" {key}"), false),
        (format!("{who} namespaces=\"!handoff-*,*\" {key}"), false),
        (format!("{who} namespaces=\"!git\" {key}"), false),
        (format!("{who} namespaces=\"\" {key}"), false),
        (format!("{who} namespaces=\"git\" {key}\n{good}"), true),
        (format!("{who} valid-after=\"20200101\" {key}"), true),
        (format!("{who} valid-after=\"20200101Z\",valid-before=\"21000101Z\" {key}"), true),
        (format!("{who} valid-after=\"202001010203\",valid-before=\"21000101040506Z\" {key}"), true),
        (format!("{who} valid-after=\"21000101\" {key}"), false),
        (format!("{who} valid-before=\"20200101\" {key}"), false),
        (format!("{who} valid-before=\"20200101000000Z\" {key}"), false),
        (format!("{who} valid-before=\"20200101\" {key}\n{good}"), true),
        (format!("{who} valid-after=\"21000101\",valid-before=\"20200101\" {key}"), false),
        (format!("{who} valid-after=\"soon\" {key}"), false),
        (format!("{who} valid-after=\"2020\" {key}"), false),
        (format!("{who} valid-after=\"20201301\" {key}"), false),
        (format!("{who} valid-after=20200101 {key}"), false),
        (format!("{who} namespaces=\"*\",valid-before=\"20200101\" {key}"), false),
        (format!("{who} namespaces=\"*\",namespaces=\"*\" {key}"), false),
        (format!("{who} namespaces=\"*\"valid-after=\"20200101\" {key}"), false),
        (format!("{who} namespaces=\"*\", {key}"), false),
        (format!("{who} namespaces=\"* {key}"), false),
        (format!("{who} restrict {key}"), false),
        (format!("{who} cert-authority {key}"), false),
        (format!("{who} {cut}"), false),
        (format!("{who} {cut}!!!!"), false),
        (who.to_owned(), false),
        (key.clone(), false),
        (String::new(), false),
    ];
    for (lines, expected) in table {
        let ours = judge(SETTINGS, &signature, &format!("{lines}\n"));
        assert_eq!(bench.ssh_keygen_accepts(&format!("{lines}\n"), &signature), expected, "ssh-keygen: {lines}");
        assert_eq!(ours.is_ok(), expected, "{lines}\n{ours:?}");
    }

    // Where we are stricter on purpose: a broken line below the one that fits, and a day that does not exist.
    for lines in [format!("{good}\nbroken\n"), format!("{who} valid-after=\"20200231\" {key}\n")] {
        assert!(bench.ssh_keygen_accepts(&lines, &signature), "{lines}");
        assert!(judge(SETTINGS, &signature, &lines).is_err(), "{lines}");
    }
}

#[test]
fn refusals_of_a_listed_key_name_the_reason_and_the_line() {
    let bench = Bench::new();
    let key = bench.key("ops", &["-t", "ed25519"]);
    let signature = bench.sign("ops", "handoff-settings", &[]);
    for (options, reason) in [
        ("valid-before=\"20200101Z\"", "expired at 2020-01-01T00:00:00Z"),
        ("valid-after=\"21000101Z\"", "valid only from 2100-01-01T00:00:00Z"),
        ("namespaces=\"git\"", "not for settings"),
    ] {
        let result = judge(SETTINGS, &signature, &format!("\n{PRINCIPAL} {options} {key}\n"));
        assert!(result.as_ref().is_err_and(|e| e.remedy().contains("trusted-keys line 2")), "{result:?}");
        refused(result, reason);
    }
}

#[test]
fn limits_begin_and_end_at_the_same_second_as_for_ssh_keygen() {
    let bench = Bench::new();
    let key = bench.key("ops", &["-t", "ed25519"]);
    let signature = bench.sign("ops", "handoff-settings", &[]);
    let line = format!("{PRINCIPAL} valid-after=\"20240229123456Z\",valid-before=\"20240301000000Z\" {key}\n");
    let keys = TrustedKeys::parse("trusted-keys", line.as_bytes()).unwrap();
    fs::write(bench.path("trusted-keys"), &line).unwrap();
    // date -u -d '2024-02-29 12:34:56' +%s
    let after = 1_709_210_096;
    for (text, now, expected) in [
        ("20240229123455Z", after - 1, false),
        ("20240229123456Z", after, true),
        ("20240301000000Z", 1_709_251_200, true),
        ("20240301000001Z", 1_709_251_201, false),
    ] {
        let theirs = Command::new("ssh-keygen")
            .args([
                "-Y",
                "verify",
                "-n",
                "handoff-settings",
                "-I",
                PRINCIPAL,
                "-O",
                &format!("verify-time={text}"),
                "-f",
            ])
            .arg(bench.path("trusted-keys"))
            .arg("-s")
            .arg(bench.path("settings.json.sig"))
            .stdin(File::open(bench.path("settings.json")).unwrap())
            .output()
            .unwrap();
        assert_eq!(theirs.status.success(), expected, "ssh-keygen: {text}");
        let blob = Blob::new("x", SETTINGS.to_vec(), Some(signature.clone())).unwrap();
        let ours = verify("x", blob, Requirement::Signature, &keys, None, Clock { now, floor: 1 });
        assert_eq!(ours.is_ok(), expected, "{text}");
    }
}

/// A signature as a FIDO token makes it (`PROTOCOL.u2f`), here with the secret in the test's own hand.
fn token_signature(flags: u8) -> (String, Vec<u8>) {
    let secret = SigningKey::from_bytes(&[42; 32]);
    let key = KeyData::SkEd25519(SkEd25519::new(Ed25519PublicKey(secret.verifying_key().to_bytes()), "ssh:"));
    let message = SshSig::signed_data("handoff-settings", HashAlg::Sha512, SETTINGS).unwrap();
    let trailer = [flags, 0, 0, 1, 2];
    let signed = [&Sha256::digest("ssh:")[..], &trailer, &Sha256::digest(message)].concat();
    let data = [&secret.sign(&signed).to_bytes()[..], &trailer].concat();
    let signature = Signature::new(Algorithm::SkEd25519, data).unwrap();
    let sshsig = SshSig::new(key.clone(), "handoff-settings", HashAlg::Sha512, signature).unwrap();
    (PublicKey::from(key).to_openssh().unwrap(), sshsig.to_pem(LineEnding::LF).unwrap().into_bytes())
}

#[test]
fn a_token_s_signature_is_believed_where_ssh_keygen_believes_it_and_the_token_was_touched() {
    let bench = Bench::new();
    let (key, touched) = token_signature(1);
    let trusted = format!("{PRINCIPAL} {key}\n");
    assert!(bench.ssh_keygen_accepts(&trusted, &touched));
    assert!(judge(SETTINGS, &touched, &trusted).is_ok());
    let (_, untouched) = token_signature(0);
    refused(judge(SETTINGS, &untouched, &trusted), "nobody touched");
    refused(judge(b"{}", &touched, &trusted), "does not match");
}

#[test]
fn a_flipped_bit_anywhere_in_a_signed_container_is_refused() {
    let bench = Bench::new();
    let key = bench.key("ops", &["-t", "ed25519"]);
    let signature = bench.sign("ops", "handoff-settings", &[]);
    let blob = Blob::new("/dev/vdb", SETTINGS.to_vec(), Some(signature)).unwrap();
    let whole = container::encode(&blob);
    let mut padded = whole.clone();
    padded.resize(4096, 0);
    assert_eq!(container::decode("/dev/vdb", &padded).unwrap(), blob);
    for bit in 0..whole.len() * 8 {
        let mut flipped = padded.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let error = container::decode("/dev/vdb", &flipped).expect_err("a flipped bit");
        assert_eq!(error.class(), Class::NotVerified);
    }
    // The padding is not ours: what lies there changes nothing.
    padded[4095] ^= 1;
    let keys = TrustedKeys::parse("trusted-keys", format!("{PRINCIPAL} {key}").as_bytes()).unwrap();
    let blob = container::decode("/dev/vdb", &padded).unwrap();
    assert!(verify("/dev/vdb", blob, Requirement::Signature, &keys, None, clock()).is_ok());
}
