use crate::class::CLASS_PATH;
use crate::guest::{GuestPath, Node, Tree, View};
use crate::render::bench::Bench;
use crate::settings::Settings;

const CLASS: &str = r#"{ "version": 1, "class": "web", "fields": {
      "greeting": { "type": "string", "default": "hello", "help": "what is said" },
      "password": { "type": "secret", "help": "who may" },
      "timeout": { "type": "duration", "default": "30s", "help": "how long" },
      "tls": { "type": "boolean", "default": false, "help": "whether" },
      "users": { "type": "table", "help": "them", "default": [], "columns": {
        "name": { "type": "string", "required": true, "help": "who" },
        "token": { "type": "secret", "help": "their token" } } } },
    "terminals": { "db": { "direction": "output", "protocol": "sql", "help": "the database", "min": 0 } },
    "templates": [
      { "text": "{{ greeting }} {{ timeout | seconds }}{% for peer in terminals.db %} {{ peer.address }}:{{ peer.port }}{% endfor %} end\n",
        "target": "/etc/web.conf", "syntax": "haproxy" },
      { "text": "{{ greeting }}", "target": "/etc/tls.conf", "syntax": "haproxy", "when": "tls", "mode": "0640", "group": "adm" } ],
    "services": [{ "name": "web.service" }],
    "volumes": { "data": { "serial": "data", "mount": "/srv/data", "options": ["noatime"], "services": ["web.service"] } } }"#;

fn bench() -> Bench {
    Bench::new(
        Tree::new()
            .with(CLASS_PATH, CLASS)
            .with("/etc/group", "adm:x:4:\n")
            .with("/etc/fstab", "/dev/vda / ext4 defaults 0 1\n")
            .with("/usr/lib/systemd/systemd", "")
            .with("/usr/lib/systemd/system/web.service", "[Install]\nWantedBy=multi-user.target\n"),
    )
}

fn settings(sections: &str) -> Settings {
    Settings::check_text(format!("{{ \"version\": 1{sections} }}").as_bytes()).unwrap()
}

#[test]
fn a_class_becomes_files_services_volumes_and_names() {
    let mut bench = bench();
    let peers = r#", "terminals": { "db": [ { "name": "db1", "address": "10.0.0.5", "port": 5432 } ] }"#;
    bench.apply(&settings(&format!(r#"{peers}, "fields": {{ "greeting": "it's", "tls": true }}"#)));
    assert_eq!(bench.text("/etc/web.conf"), "'it'\\''s' 30 10.0.0.5:5432 end\n");
    assert_eq!(bench.text("/etc/tls.conf"), "'it'\\''s'");
    assert!(bench.text("/etc/hosts").contains("10.0.0.5\tdb db1.db\n"));
    assert_eq!(
        bench.text("/etc/fstab").lines().nth(1).unwrap(),
        "/dev/disk/by-id/virtio-data\t/srv/data\text4\tnofail,nosuid,nodev,x-systemd.makefs,x-systemd.growfs,x-systemd.device-timeout=90s,noatime\t0\t2"
    );
    assert_eq!(
        bench.text("/etc/systemd/system/web.service.d/50-handoff-volumes.conf"),
        "[Unit]\nRequiresMountsFor=/srv/data\n"
    );
    let link = GuestPath::of("/etc/systemd/system/multi-user.target.wants/web.service");
    assert!(bench.tree.node(&link).unwrap().is_some());
    bench.apply(&settings(""));
    assert_eq!(bench.text("/etc/web.conf"), "'hello' 30 end\n");
    assert!(
        bench.tree.node(&GuestPath::of("/etc/tls.conf")).unwrap().is_none(),
        "its condition does not hold any longer"
    );
}

#[test]
fn secrets_are_for_root_alone() {
    let mut bench = bench();
    bench.apply(&settings(r#", "fields": { "password": "s3cret", "users": [ { "name": "a", "token": "t0ken" } ] }"#));
    let public = bench.text("/etc/handoff/fields.json");
    assert!(public.contains("\"timeout\": \"30s\"") && public.contains("\"name\": \"a\""), "{public}");
    assert!(!public.contains("s3cret") && !public.contains("t0ken"), "{public}");
    let path = GuestPath::of("/etc/handoff/secret-fields.json");
    let Some(Node::File(file)) = bench.tree.node(&path).unwrap() else { panic!("no file") };
    let text = String::from_utf8(file.content).unwrap();
    assert!(file.mode == 0o600 && text.contains("s3cret") && text.contains("t0ken"), "{text}");
}

#[test]
fn what_the_class_needs_cannot_be_taken_away() {
    for service in [r#""enabled": false"#, r#""masked": true"#] {
        let given = settings(&format!(r#", "services": [ {{ "name": "web", {service} }} ]"#));
        let error = bench().render(&given).unwrap_err().to_string();
        assert!(error.starts_with("services[0]: takes away `web.service`, which the class web needs"), "{error}");
    }
}

#[test]
fn a_text_that_the_syntax_cannot_carry_is_refused_by_the_name_of_its_field() {
    let error = bench().render(&settings(r#", "fields": { "greeting": "" }"#)).unwrap_err().to_string();
    assert!(error.contains("/etc/web.conf") && error.contains("line 1"), "{error}");
}
