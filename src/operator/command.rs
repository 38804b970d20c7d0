//! The command line of `handoff`: what can be asked, and which function answers it.

use super::boot::{ImageFormat, Kernel, Machine};
use super::catalog::command::{self as catalog_command, CatalogCommand, ClassCommand, New};
use super::catalog::judge::{self, Classes, Found};
use super::disk::Format;
use super::inspect::Manner;
use super::output::{self, Listener, Readers, unprintable};
use super::pack::SignatureFrom;
use super::sign::SigningKey;
use super::written::{Notation, Written, summary};
use super::{boot, inspect, pack, trial, trust_line};
use crate::agent;
use crate::error::{Error, Result, one_line};
use crate::settings::{Mac, Settings};
use crate::trust::{MAX_TRUSTED_KEYS, TrustedKeys, Uuid};
use clap::{Args, Parser, Subcommand};
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Writes, checks, signs and packs the settings of an appliance.
#[derive(Debug, Parser)]
#[command(name = "handoff", version, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = "\
The usual way:
  handoff check lb.toml
  handoff sign lb.toml -k ~/.ssh/id_ed25519
  handoff pack lb.toml -o lb.img
and then attach lb.img to the guest as a disk.

Exit codes: 0 done, 2 wrong command line, 10 nothing found, 11 not trusted,
12 settings are not good, 13 not done, 1 a bug.")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say whether settings are good, as a guest would judge them
    #[command(
        after_long_help = "Example:\n  handoff check lb.toml db.yaml\n  generate | handoff check - --format json"
    )]
    Check(Check),
    /// Show the JSON that TOML or YAML becomes
    #[command(after_long_help = "Example:\n  handoff convert lb.toml -o settings.json")]
    Convert(Convert),
    /// Sign settings with an OpenSSH key
    ///
    /// Writes the signature beside the file, and for TOML and YAML also the JSON that is signed. A key with a passphrase, a
    /// key in an agent (name its .pub file) and a hardware token are used through ssh-keygen, which asks on the terminal.
    #[command(after_long_help = "\
Example:
  handoff sign lb.toml -k ~/.ssh/id_ed25519       makes lb.json and lb.json.sig

The same by hand:
  handoff convert lb.toml -o lb.json
  ssh-keygen -Y sign -n handoff-settings -f ~/.ssh/id_ed25519 lb.json")]
    Sign(Sign),
    /// Put signed settings on a disk image
    ///
    /// The signature is the file beside the settings, the one that --sig names, or made on the way with --key. It is checked
    /// first: a disk with a signature that does not fit is never made.
    #[command(after_long_help = "\
Example:
  handoff pack lb.toml -o lb.img                  a raw container, signed before
  handoff pack lb.toml -k ~/.ssh/id_ed25519 --format iso -o lb.iso")]
    Pack(Pack),
    /// Show what a disk holds, who signed it, and whether a guest would trust it
    #[command(after_long_help = "Example:\n  handoff inspect lb.img --trusted-keys trusted-keys --show")]
    Inspect(Inspect),
    /// Print the line that makes an image trust a key
    #[command(after_long_help = "\
Example:
  handoff trust ~/.ssh/id_ed25519.pub --principal ops@example.net >> image/usr/lib/handoff/trusted-keys")]
    Trust(Trust),
    /// Apply settings to a scratch root and show all that happens: no root, no virtual machine
    ///
    /// Makes a throw-away key, a signed disk and the root of a small Debian in a temporary directory, and lets the agent
    /// configure it. Each claim that is printed was checked. Without a file it uses an example, a load balancer.
    #[command(after_long_help = "\
Example:
  handoff try
  handoff try lb.toml --keep                      leaves the guest's files for you to look at")]
    Try(Try),
    /// Run an image with a settings disk in QEMU
    ///
    /// The guest's serial console (ttyS0) is this terminal: Ctrl-A X ends the machine. What the guest writes is forgotten
    /// unless --write is given.
    #[command(after_long_help = "\
Example:
  handoff boot appliance.qcow2 --disk lb.img --ssh-port 2222
  handoff boot root.img --disk lb.img --kernel vmlinuz --initrd initrd.img --pid1")]
    Boot(Box<Boot>),
    /// Make settings for a class to begin with: all its fields, with defaults and what they mean
    #[command(after_long_help = "Example:\n  handoff new haproxy -o lb.toml\n  handoff check lb.toml")]
    New(New),
    /// List the classes of appliances, and show what one takes
    #[command(subcommand, after_long_help = "Example:\n  handoff catalog list\n  handoff catalog show haproxy")]
    Catalog(CatalogCommand),
    /// Build a class of appliances, or print its schema or its documentation
    #[command(
        subcommand,
        after_long_help = "Example:\n  handoff class build catalog/haproxy -o image/usr/lib/handoff/class.json"
    )]
    Class(ClassCommand),
}

#[derive(Debug, Args)]
struct Check {
    /// Settings in JSON, TOML or YAML; `-` is the standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How they are written, where the name does not tell
    #[arg(long, value_name = "NOTATION")]
    format: Option<Notation>,
    #[command(flatten)]
    classes: Classes,
}

#[derive(Debug, Args)]
struct Convert {
    /// Settings in JSON, TOML or YAML; `-` is the standard input
    file: PathBuf,
    /// Where to write the JSON; without it, to the standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How they are written, where the name does not tell
    #[arg(long, value_name = "NOTATION")]
    format: Option<Notation>,
}

#[derive(Debug, Args)]
struct Sign {
    /// Settings in JSON, TOML or YAML
    file: PathBuf,
    /// An OpenSSH private key of type Ed25519 or its FIDO form, or the .pub file of one that an agent holds
    #[arg(short, long)]
    key: PathBuf,
    /// Where to write the signature; without it, beside the JSON
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    classes: Classes,
}

#[derive(Debug, Args)]
struct Pack {
    /// Settings in JSON, TOML or YAML
    file: PathBuf,
    /// The disk image to make
    #[arg(short, long, value_name = "IMAGE")]
    output: PathBuf,
    /// The form of the disk; without it, iso for a name that ends in .iso, else raw
    #[arg(long)]
    format: Option<Format>,
    /// The signature, where it is not beside the settings
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key", "unsigned"])]
    sig: Option<PathBuf>,
    /// Sign on the way with this OpenSSH key
    #[arg(short, long, conflicts_with = "unsigned")]
    key: Option<PathBuf>,
    /// Make a disk without a signature, for a guest whose image says that it needs none
    #[arg(long)]
    unsigned: bool,
    #[command(flatten)]
    classes: Classes,
}

#[derive(Debug, Args)]
struct Inspect {
    /// A disk, a disk image, or a settings.json with its signature beside it
    disk: PathBuf,
    /// Say whether these keys trust it: lines as in the image's trusted-keys
    #[arg(long, value_name = "FILE")]
    trusted_keys: Option<PathBuf>,
    /// Show the settings, with secrets masked
    #[arg(long)]
    show: bool,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    classes: Classes,
}

#[derive(Debug, Args)]
struct Trust {
    /// The public key, a .pub file
    key: PathBuf,
    /// Whose it is; without it, what the key's comment says
    #[arg(long, value_name = "NAME")]
    principal: Option<String>,
}

#[derive(Debug, Args)]
struct Try {
    /// Settings in JSON, TOML or YAML; without it, those of an example
    file: Option<PathBuf>,
    /// Leave the directory that the trial was made in
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    classes: Classes,
}

#[derive(Debug, Args)]
struct Boot {
    /// The appliance's disk image, raw or qcow2
    image: PathBuf,
    /// The settings disk
    #[arg(long, value_name = "IMAGE")]
    disk: Option<PathBuf>,
    /// Keep what the guest writes
    #[arg(long)]
    write: bool,
    /// Start this kernel instead of the image's boot loader
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// The kernel's initial file system
    #[arg(long, value_name = "FILE", requires = "kernel")]
    initrd: Option<PathBuf>,
    /// The kernel's arguments; without it, root=/dev/vda console=ttyS0
    #[arg(long, value_name = "TEXT", requires = "kernel", allow_hyphen_values = true)]
    append: Option<String>,
    /// Start the agent as process 1
    #[arg(long, requires = "kernel")]
    pid1: bool,
    /// Lead this port of 127.0.0.1 to the guest's SSH
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    ssh_port: Option<u16>,
    /// The hardware address of the guest's network card
    #[arg(long, default_value = "52:54:00:12:34:56")]
    mac: String,
    /// The machine's UUID, for settings with instance.machine
    #[arg(long)]
    uuid: Option<String>,
    /// Memory in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(64..=1_048_576))]
    memory: u32,
    /// Number of processors
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    processors: u32,
    /// Let the processor run the guest through /dev/kvm, which is much faster where it works
    #[arg(long)]
    kvm: bool,
    /// Stop the machine after so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    deadline: Option<u64>,
    /// Print the command instead of running it
    #[arg(long)]
    print: bool,
}

/// Reads the command line, does what it asks, and returns the exit code. Each error is one line on `err`.
pub fn run(arguments: impl IntoIterator<Item = OsString>, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let text = error.render().to_string();
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            // Help that was asked for is the answer; anything else is an error. Nobody may be reading either.
            drop(if code == 0 { out.write_all(text.as_bytes()) } else { err.write_all(text.as_bytes()) });
            return code;
        }
    };
    let out = &mut Listener(out);
    let mut failures = match cli.command {
        Command::Check(check) => check_all(&check, out, err),
        Command::Convert(asked) => failure(convert(&asked, out)),
        Command::Sign(asked) => failure(sign(&asked, out, err)),
        Command::Pack(asked) => failure(pack_disk(&asked, out, err)),
        Command::Inspect(asked) => failure(inspect_disk(&asked, out)),
        Command::Trust(asked) => failure(trust_line::run(&asked.key, asked.principal.as_deref(), out)),
        Command::Try(asked) => failure(trial::run(asked.file.as_deref(), &asked.classes, asked.keep, &agent::run, out)),
        Command::Boot(asked) => failure(boot_machine(*asked, out)),
        Command::New(asked) => failure(catalog_command::new(asked, out)),
        Command::Catalog(asked) => failure(catalog_command::catalog(asked, out)),
        Command::Class(asked) => failure(catalog_command::class(asked, out)),
    };
    failures.extend(out.flush().map_err(unprintable).err());
    for error in &failures {
        // Where even this cannot be written, the exit code still says it.
        drop(writeln!(err, "handoff: {error}"));
    }
    failures.iter().map(|error| error.class().exit_code()).max().unwrap_or(0)
}

fn failure(result: Result<()>) -> Vec<Error> {
    result.err().into_iter().collect()
}

/// Holds settings against their class. Where there is none, a note says what was not judged.
fn judge(classes: &Classes, name: &str, settings: &Settings, err: &mut dyn Write) -> Result<Found> {
    let found = classes.judge(name, settings)?;
    if let Found::Missing(reason) = &found {
        // A note that nobody can read is no reason to fail.
        drop(writeln!(err, "handoff: {}", one_line(&judge::note(name, reason))));
    }
    Ok(found)
}

fn check_all(asked: &Check, out: &mut dyn Write, err: &mut dyn Write) -> Vec<Error> {
    let mut failures = Vec::new();
    for file in &asked.files {
        let checked = Written::read(file, asked.format).and_then(|written| {
            let settings = written.settings()?;
            let found = judge(&asked.classes, written.name(), &settings, err)?;
            let unjudged = match found {
                Found::Missing(_) => " (fields and terminals not judged)",
                _ => "",
            };
            writeln!(out, "{}: good: {}{unjudged}", written.name(), summary(&settings)).map_err(unprintable)
        });
        failures.extend(checked.err());
    }
    failures
}

fn convert(asked: &Convert, out: &mut dyn Write) -> Result<()> {
    let written = Written::read(&asked.file, asked.format)?;
    written.settings()?;
    match &asked.output {
        Some(path) if path != Path::new("-") => {
            output::check_apart(path, &[&asked.file])?;
            output::write(path, &written.converted(), Readers::Owner)
        }
        _ => out.write_all(&written.converted()).map_err(unprintable),
    }
}

fn sign(asked: &Sign, out: &mut dyn Write, err: &mut dyn Write) -> Result<()> {
    let written = Written::read(&asked.file, None)?;
    judge(&asked.classes, written.name(), &written.settings()?, err)?;
    if let Some(path) = &asked.output {
        let json = written.json_path().unwrap_or_else(|| asked.file.clone());
        output::check_apart(path, &[&asked.file, &json, &asked.key])?;
    }
    pack::sign(&written, &SigningKey::open(&asked.key)?, asked.output.as_deref(), out)
}

fn pack_disk(asked: &Pack, out: &mut dyn Write, err: &mut dyn Write) -> Result<()> {
    let written = Written::read(&asked.file, None)?;
    judge(&asked.classes, written.name(), &written.settings()?, err)?;
    let from = match (&asked.sig, &asked.key, asked.unsigned) {
        (Some(file), ..) => SignatureFrom::File(file.clone()),
        (_, Some(key), _) => SignatureFrom::Key(SigningKey::open(key)?),
        (_, _, true) => SignatureFrom::Nowhere,
        _ => SignatureFrom::Beside,
    };
    let is_iso = asked.output.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("iso"));
    let format = asked.format.unwrap_or(if is_iso { Format::Iso } else { Format::Raw });
    let json = written.json_path().unwrap_or_else(|| asked.file.clone());
    let beside = output::with_suffix(&json, ".sig");
    let inputs = [Some(&asked.file), Some(&json), Some(&beside), asked.sig.as_ref(), asked.key.as_ref()];
    output::check_apart(&asked.output, &inputs.into_iter().flatten().map(PathBuf::as_path).collect::<Vec<_>>())?;
    pack::pack(&written, &from, format, &asked.output, out)
}

fn inspect_disk(asked: &Inspect, out: &mut dyn Write) -> Result<()> {
    let keys = match &asked.trusted_keys {
        Some(path) => {
            let bytes = output::read(path, MAX_TRUSTED_KEYS)?;
            Some(TrustedKeys::parse(&path.display().to_string(), &bytes)?)
        }
        None => None,
    };
    inspect::run(&asked.disk, keys.as_ref(), &asked.classes, Manner { show: asked.show, json: asked.json }, out)
}

fn boot_machine(asked: Boot, out: &mut dyn Write) -> Result<()> {
    let Ok(mac) = Mac::parse(&asked.mac) else {
        return Err(Error::usage(
            format_args!("--mac {}", asked.mac),
            "is not a hardware address",
            "write six pairs of hexadecimal digits, like 52:54:00:12:34:56",
        ));
    };
    if let Some(uuid) = asked.uuid.as_ref().filter(|uuid| Uuid::parse(uuid).is_none()) {
        return Err(Error::usage(
            format_args!("--uuid {uuid}"),
            "is not a UUID",
            "write it like 4c4c4544-0042-3510-8052-b4c04f4e3132",
        ));
    }
    for file in [&asked.disk, &asked.kernel, &asked.initrd].into_iter().flatten() {
        ImageFormat::of(file)?;
    }
    let kernel = asked.kernel.map(|kernel| Kernel {
        kernel,
        initrd: asked.initrd,
        append: asked.append,
        agent_is_first: asked.pid1,
    });
    let machine = Machine {
        format: ImageFormat::of(&asked.image)?,
        image: asked.image,
        write: asked.write,
        settings: asked.disk,
        kernel,
        ssh_port: asked.ssh_port,
        mac: mac.to_string(),
        uuid: asked.uuid,
        memory: asked.memory,
        processors: asked.processors,
        kvm: asked.kvm,
    };
    if asked.print {
        return writeln!(out, "{}", boot::command_line(&boot::arguments(&machine))).map_err(unprintable);
    }
    boot::run(&machine, asked.deadline.map(Duration::from_secs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example_in_its_long_help() {
        for command in Cli::command().get_subcommands_mut() {
            let help = command.render_long_help().to_string();
            assert!(help.contains("Example:"), "{help}");
        }
    }
}
