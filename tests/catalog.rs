//! The classes of the catalog: each is sound, takes the settings of the examples, and makes of them, and of what people and
//! attackers write, files that the programs they are for read. On images, see `tests/vm/catalog.rs`.

#![cfg(all(feature = "operator", target_os = "linux"))]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs
)]

mod proof;

use handoff::operator::catalog::build::{Built, Source, build};
use handoff::operator::written::Written;
use proof::{Guest, Run, has, is_root};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const CLASSES: [&str; 3] = ["haproxy", "nginx", "postgresql"];
const POSTGRESQL: &str = "/usr/lib/postgresql/15/bin";

fn catalog() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("catalog")
}

fn class(name: &str) -> Built {
    build(&Source::Directory(catalog().join(name))).unwrap()
}

/// The settings of an example, as they reach the guest.
fn shop(name: &str) -> Value {
    let path = catalog().join("examples/shop").join(name).with_extension("toml");
    serde_json::from_slice(&Written::read(&path, None).unwrap().json()).unwrap()
}

/// Settings of a class with these fields and peers.
fn settings(class: &str, fields: &Value, terminals: &Value) -> Value {
    json!({ "version": 1, "appliance": { "class": class }, "fields": fields, "terminals": terminals })
}

/// A guest that has the class, its accounts and its units, and no network.
struct Appliance(Guest);

impl Appliance {
    fn new(name: &str) -> Self {
        let guest = Guest::debian();
        // The programs that judge are the image's; here the machine's own look at the result.
        let mut class: Value = serde_json::from_slice(&class(name).json).unwrap();
        for template in class["templates"].as_array_mut().unwrap() {
            template.as_object_mut().unwrap().remove("check");
        }
        guest.write("/usr/lib/handoff/class.json", class.to_string().as_bytes(), 0o644);
        let passwd = guest.read("/etc/passwd") + "postgres:x:102:104::/var/lib/postgresql:/bin/bash\n";
        guest.write("/etc/passwd", passwd.as_bytes(), 0o644);
        guest.write("/etc/group", (guest.read("/etc/group") + "postgres:x:104:\n").as_bytes(), 0o644);
        for unit in ["nginx", "php8.2-fpm", "postgresql", "postgresql-cluster", "postgresql-roles"] {
            let text = b"[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n";
            guest.write(&format!("/usr/lib/systemd/system/{unit}.service"), text, 0o644);
        }
        Appliance(guest)
    }

    fn apply(&self, settings: &Value) -> Run {
        self.0.apply(&settings.to_string())
    }

    /// A copy of a rendered file beside the guest, whose words that name other files of the guest do so where they are.
    fn taken(&self, path: &str, replaced: &[(&str, &str)]) -> PathBuf {
        let root = self.0.root().display().to_string();
        let mut text = self.0.read(path);
        for (from, to) in replaced {
            assert!(text.contains(from), "{from} in {path}: {text}");
            text = text.replace(from, &to.replace("ROOT", &root));
        }
        let copy = self.0.beside(path.rsplit('/').next().unwrap());
        fs::write(&copy, text).unwrap();
        copy
    }
}

/// What a checker says of a file it refuses; nothing where it takes it.
fn complaint(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (!output.status.success()).then(|| String::from_utf8_lossy(&said).into_owned())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A certificate and its key, made by openssl, where that is there.
fn certificate(test: &str) -> Option<(String, String)> {
    if !has("openssl", test) {
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let complaint = complaint(
        "openssl",
        &[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=shop.example",
            "-keyout",
            text(&at("key")),
            "-out",
            text(&at("certificate")),
        ],
    );
    assert_eq!(complaint, None);
    Some((fs::read_to_string(at("certificate")).unwrap(), fs::read_to_string(at("key")).unwrap()))
}

#[test]
fn each_class_is_sound_and_has_a_recipe_and_nothing_of_it_is_left_over() {
    for name in CLASSES {
        let built = class(name);
        assert_eq!(built.class.name, name);
        assert!(built.class.ready.is_some() && !built.class.services.is_empty(), "{name}");
        for file in ["bake", "packages"] {
            assert!(catalog().join(name).join(file).is_file(), "{name}/{file}");
        }
        for entry in fs::read_dir(catalog().join(name)).unwrap() {
            let file = entry.unwrap().file_name().into_string().unwrap();
            assert!(!file.ends_with(".j2") || built.sources.contains(&file), "{name}: {file} is no template");
        }
    }
}

#[test]
fn the_shop_becomes_files_once_and_for_all() {
    for (name, of) in [("lb", "haproxy"), ("web1", "nginx"), ("web2", "nginx"), ("db", "postgresql")] {
        let appliance = Appliance::new(of);
        let settings = shop(name);
        assert_eq!(settings["appliance"]["class"], of);
        appliance.apply(&settings).succeeded();
        let again = appliance.apply(&settings).succeeded();
        assert!(again.out.contains("nothing to do"), "{name}: {}", again.out);
    }
}

#[test]
fn haproxy_takes_what_is_made_for_it() {
    let test = "haproxy_takes_what_is_made_for_it";
    let Some((certificate, key)) = certificate(test).filter(|_| has("haproxy", test)) else { return };
    let peers = json!({ "backend": [{ "name": "a", "address": "10.0.0.1", "port": 80 },
        { "name": "b", "address": "2001:db8::1", "port": 8080 }] });
    let listeners = json!([{ "name": "plain", "port": 80 }, { "name": "six", "address": "::1", "port": 81 },
        { "name": "tls", "port": 443, "tls": true }]);
    for fields in [
        json!({}),
        json!({ "mode": "tcp", "balance": "leastconn" }),
        json!({ "health_check": "http", "health_path": "/health", "statistics": true,
            "statistics_password": "it's $(a) \"secret\" # %[x] \\" }),
        json!({ "listeners": listeners, "certificate": format!("{certificate}{key}"), "tls_minimum": "TLSv1.3" }),
        json!({ "mode": "tcp", "listeners": listeners, "certificate": format!("{certificate}{key}") }),
    ] {
        let appliance = Appliance::new("haproxy");
        appliance.apply(&settings("haproxy", &fields, &peers)).succeeded();
        let own = "/etc/haproxy/certificate.pem";
        let replaced: &[_] =
            if fields.get("listeners").is_some() { &[(own, "ROOT/etc/haproxy/certificate.pem")] } else { &[] };
        let file = appliance.taken("/etc/haproxy/haproxy.cfg", replaced);
        assert_eq!(complaint("haproxy", &["-c", "-f", text(&file)]), None, "{fields}");
    }
}

#[test]
fn what_haproxy_itself_refuses_passes_the_class_and_not_the_checker() {
    if !has("haproxy", "what_haproxy_itself_refuses_passes_the_class_and_not_the_checker") {
        return;
    }
    let appliance = Appliance::new("haproxy");
    let peer = json!({ "name": "a", "address": "10.0.0.1", "port": 80 });
    let fields = json!({ "listeners": [{ "name": "tls", "port": 443, "tls": true }] });
    appliance.apply(&settings("haproxy", &fields, &json!({ "backend": [peer] }))).succeeded();
    let file = appliance.taken("/etc/haproxy/haproxy.cfg", &[]);
    let said = complaint("haproxy", &["-c", "-f", text(&file)]).expect("TLS without a certificate is taken");
    assert!(said.contains("certificate.pem"), "{said}");
}

#[test]
fn nginx_takes_what_is_made_for_it() {
    let test = "nginx_takes_what_is_made_for_it";
    let Some((certificate, key)) = certificate(test).filter(|_| has("nginx", test)) else { return };
    if !is_root() {
        println!("{test}: SKIPPED, nginx wants to set owners");
        return;
    }
    for tls in [false, true] {
        let mut fields = json!({ "workers": 3, "max_body": "1MiB" });
        if tls {
            fields = json!({ "tls": true, "certificate": certificate, "private_key": key });
        }
        let appliance = Appliance::new("nginx");
        appliance.apply(&settings("nginx", &fields, &json!({}))).succeeded();
        let pid = ("/run/nginx.pid", "ROOT/run/nginx.pid");
        let mut replaced = vec![pid];
        if tls {
            replaced.push(("/etc/nginx/certificate.pem", "ROOT/etc/nginx/certificate.pem"));
            replaced.push(("/etc/nginx/private-key.pem", "ROOT/etc/nginx/private-key.pem"));
        }
        fs::create_dir_all(appliance.0.at("/run")).unwrap();
        let file = appliance.taken("/etc/nginx/nginx.conf", &replaced);
        assert_eq!(complaint("nginx", &["-t", "-q", "-c", text(&file)]), None, "{fields}");
    }
}

#[test]
fn php_reads_the_greeting_and_the_password_as_they_were_written() {
    if !has("php", "php_reads_the_greeting_and_the_password_as_they_were_written") {
        return;
    }
    let peers = json!({ "db": [{ "name": "db1", "address": "10.0.0.20", "port": 5433 }] });
    for hostile in ["plain", "it's \\", "\\'; exit(1); //", "{{ x }} $x {$x} ${x} ?> <?= 1 ?>", "\"`id`$(id)", "é🙂"]
    {
        let appliance = Appliance::new("nginx");
        let fields = json!({ "greeting": hostile, "database_password": hostile });
        appliance.apply(&settings("nginx", &fields, &peers)).succeeded();
        let file = appliance.0.at("/etc/appliance/application.php");
        let output =
            Command::new("php").args(["-r", "echo json_encode(require $argv[1]);"]).arg(file).output().unwrap();
        let read: Value = serde_json::from_slice(&output.stdout).expect(hostile);
        let database = json!({ "host": "db", "port": 5433, "name": "shop", "user": "shop", "password": hostile });
        assert_eq!(read, json!({ "greeting": hostile, "database": database }));
        assert!(appliance.0.read("/etc/hosts").contains("10.0.0.20\tdb db1.db\n"));
    }
}

#[test]
fn what_would_be_more_than_a_name_is_refused() {
    let none = json!({});
    let role = |name: &str| json!({ "roles": [{ "name": name, "password": "long enough" }] });
    for name in ["shop", "portal", "pg", "p", "pos", "pgadmin", "_x1", "poster2"] {
        let taken = Appliance::new("postgresql").apply(&settings("postgresql", &role(name), &none)).code == Some(0);
        assert_eq!(taken, !name.starts_with("post"), "{name}");
    }
    for name in ["postgres", "pg_monitor", "a b", "a\"", "A", "1a", "", "a;", "a\nb", "é"] {
        Appliance::new("postgresql")
            .apply(&settings("postgresql", &role(name), &none))
            .refused(12, &["fields.roles[0].name"]);
    }
    let database = |name: &str| json!({ "databases": [{ "name": name, "owner": "shop" }] });
    for name in ["shop", "portal", "p", "po", "pos", "t", "te", "temp", "temporary", "tmpl", "_x1"] {
        Appliance::new("postgresql").apply(&settings("postgresql", &database(name), &none)).succeeded();
    }
    for name in ["postgres", "template0", "template1", "post", "templ", "pg\""] {
        Appliance::new("postgresql")
            .apply(&settings("postgresql", &database(name), &none))
            .refused(12, &["fields.databases[0].name"]);
    }
    for root in ["srv", "/", "/srv/../etc", "/srv/a b", "/srv/$x", "/srv/a;", "/srv/a\n", "/srv//a"] {
        let fields = json!({ "document_root": root });
        Appliance::new("nginx").apply(&settings("nginx", &fields, &none)).refused(12, &["fields.document_root"]);
    }
}

#[test]
fn a_link_on_the_data_volume_leads_root_nowhere() {
    let test = "a_link_on_the_data_volume_leads_root_nowhere";
    let accounts = fs::read_to_string("/etc/passwd").unwrap();
    if !is_root() || !Path::new(POSTGRESQL).is_dir() || !accounts.contains("\npostgres:") || !has("setpriv", test) {
        println!("{test}: SKIPPED, it needs root and PostgreSQL with its account");
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    let (volume, script, roots) = (at("volume"), at("script"), at("roots"));
    let own = catalog().join("postgresql/root/usr/lib/appliance/postgresql-cluster");
    fs::write(&script, fs::read_to_string(own).unwrap().replace("/var/lib/postgresql", text(&volume))).unwrap();
    fs::create_dir(&volume).unwrap();
    fs::create_dir(&roots).unwrap();
    [scratch.path(), &script, &roots].into_iter().for_each(open);
    // What postgres, or whoever made the volume, can put there.
    symlink(&roots, volume.join("15")).unwrap();
    assert!(complaint(text(&script), &[]).is_some());
    assert_eq!(fs::metadata(&roots).unwrap().uid(), 0, "a directory of root's was given to postgres");
    assert_eq!(fs::read_dir(&roots).unwrap().count(), 0);

    fs::remove_file(volume.join("15")).unwrap();
    fs::create_dir(volume.join("lost+found")).unwrap();
    fs::set_permissions(volume.join("lost+found"), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(complaint(text(&script), &[]), None, "a fresh volume");
    let cluster = fs::metadata(volume.join("15/main/PG_VERSION")).unwrap();
    assert_eq!(complaint(text(&script), &[]), None, "a second time");
    assert_eq!(fs::metadata(volume.join("15/main/PG_VERSION")).unwrap().ino(), cluster.ino());
    fs::rename(volume.join("15"), volume.join("14")).unwrap();
    assert!(complaint(text(&script), &[]).unwrap().contains("holds"), "a volume of something else");
}

/// A server that runs until the test is over.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A program of PostgreSQL, which refuses to run as root.
fn unprivileged(program: &str) -> Command {
    let path = format!("{POSTGRESQL}/{program}");
    let mut command = Command::new(if is_root() { "setpriv" } else { &path });
    if is_root() {
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--", &path]);
    }
    command.stdin(Stdio::null());
    command
}

#[test]
fn postgresql_makes_the_roles_and_lets_them_in_until_they_leave_the_settings() {
    let test = "postgresql_makes_the_roles_and_lets_them_in_until_they_leave_the_settings";
    if !Path::new(POSTGRESQL).is_dir() {
        assert!(
            std::env::var_os("HANDOFF_TEST_ALL").is_none(),
            "postgresql-15 is not installed; make deps installs it"
        );
        println!("{test}: SKIPPED, PostgreSQL is not installed");
        return;
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let scratch = tempfile::tempdir().unwrap();
    if is_root() {
        std::os::unix::fs::chown(scratch.path(), Some(65534), Some(65534)).unwrap();
    }
    let at = |name: &str| scratch.path().join(name);
    let data = at("data");
    let made = unprivileged("initdb").args(["-U", "postgres", "--no-sync", "-D", text(&data)]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    let secret = "it's $$ \"a\" \\ secret";
    let role = |name: &str| json!({ "name": name, "password": secret, "connections": 5 });
    let access = json!([{ "role": "banned", "database": "all", "from": "127.0.0.0/8", "allowed": false },
        { "role": "all", "database": "shop", "from": "127.0.0.0/8" }]);
    let fields = |roles: &[&str]| {
        let roles: Vec<Value> = roles.iter().map(|name| role(name)).collect();
        json!({ "port": port, "listen_addresses": ["127.0.0.1"], "shared_buffers": "1MiB", "max_connections": 20,
            "log_slower_than": "250ms", "roles": roles, "databases": [{ "name": "shop", "owner": "shop" }], "access": access })
    };
    let appliance = Appliance::new("postgresql");
    let give = |roles: &[&str]| {
        appliance.apply(&settings("postgresql", &fields(roles), &json!({}))).succeeded();
        let hba = appliance.0.read("/etc/postgresql/pg_hba.conf");
        // The test is not the account that PostgreSQL runs as in the guest.
        fs::write(at("hba"), format!("local all postgres trust\n{hba}")).unwrap();
        fs::write(at("roles.sql"), appliance.0.read("/etc/postgresql/roles.sql")).unwrap();
        fs::write(at("settings.conf"), appliance.0.read("/etc/postgresql/conf.d/settings.conf")).unwrap();
    };
    give(&["shop", "banned", "reader"]);
    let conf = format!(
        "data_directory = '{0}/data'\nhba_file = '{0}/hba'\nident_file = '{0}/ident'\nunix_socket_directories = '{0}'\ninclude = '{0}/settings.conf'\n",
        scratch.path().display()
    );
    fs::write(at("postgresql.conf"), conf).unwrap();
    fs::write(at("ident"), "").unwrap();
    let config = format!("config_file={}", at("postgresql.conf").display());
    let checked = unprivileged("postgres").args(["-C", "shared_buffers", "-c", &config]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&checked.stdout).trim(), "128", "{}", String::from_utf8_lossy(&checked.stderr));

    // The check of the class runs as root, and must not read what the server's account wrote.
    let check: Value = serde_json::from_slice(&class("postgresql").json).unwrap();
    let check: Vec<String> = check["templates"][0]["check"]
        .as_array()
        .unwrap()
        .iter()
        .map(|word| word.as_str().unwrap().replace("config_file=/etc/postgresql/postgresql.conf", &config))
        .collect();
    let (program, arguments) = check.split_first().unwrap();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let automatic = fs::read(data.join("postgresql.auto.conf")).unwrap();
    fs::write(data.join("postgresql.auto.conf"), "include '/etc/shadow'\n").unwrap();
    assert_eq!(complaint(program, &arguments), None);
    fs::write(data.join("postgresql.auto.conf"), automatic).unwrap();

    let log = fs::File::create(at("log")).unwrap();
    let mut command = unprivileged("postgres");
    let server = command.args(["-c", &config]).stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let _server = Server(server);
    let psql = |host: &str, user: &str, database: &str, more: &[&str]| {
        let mut command = unprivileged("psql");
        command.args(["-X", "-q", "-A", "-t", "-h", host, "-p", &port.to_string(), "-U", user, "-d", database]);
        let output = command.args(more).env("PGPASSWORD", secret).env("PGCONNECT_TIMEOUT", "10").output().unwrap();
        let out = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if output.status.success() { Ok(out) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    };
    let end = Instant::now() + Duration::from_secs(30);
    while psql(text(scratch.path()), "postgres", "postgres", &["-c", "SELECT 1"]).is_err() {
        assert!(Instant::now() < end, "{}", fs::read_to_string(at("log")).unwrap());
        std::thread::sleep(Duration::from_millis(100));
    }
    let roles = || psql(text(scratch.path()), "postgres", "postgres", &["-f", text(&at("roles.sql"))]).unwrap();
    let login = |user: &str| psql("127.0.0.1", user, "shop", &["-c", "SELECT current_user"]);
    roles();
    assert_eq!(roles(), "", "a second time says nothing");
    assert_eq!(login("shop").as_deref(), Ok("shop"));
    assert_eq!(login("reader").as_deref(), Ok("reader"));
    assert!(login("banned").unwrap_err().contains("pg_hba.conf rejects"));
    assert!(login("postgres").unwrap_err().contains("pg_hba.conf rejects"));
    psql("127.0.0.1", "shop", "shop", &["-c", "CREATE TABLE kept (n int)"]).unwrap();
    let file = fs::read_to_string(at("roles.sql")).unwrap();
    assert!(!file.contains("secret") && file.contains("SCRAM-SHA-256"), "{file}");

    give(&["shop"]);
    roles();
    assert!(login("reader").unwrap_err().contains("password authentication failed"));
    assert_eq!(psql("127.0.0.1", "shop", "shop", &["-c", "SELECT count(*) FROM kept"]).as_deref(), Ok("0"));

    // Who owns the database that the server works in, by a volume from elsewhere, has no say in what it does there.
    let own = |statements: &str| psql(text(scratch.path()), "postgres", "postgres", &["-c", statements]).unwrap();
    own("ALTER DATABASE postgres OWNER TO shop");
    own("SET ROLE shop; CREATE FUNCTION public.format(text, text) RETURNS text LANGUAGE plpgsql AS \
         $$BEGIN CREATE ROLE intruder SUPERUSER; RETURN pg_catalog.format($1, $2); END$$");
    roles();
    assert_eq!(own("SELECT count(*) FROM pg_roles WHERE rolname = 'intruder'"), "0");
}
