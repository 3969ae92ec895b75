//! What can be wrong with the configuration or the server, and what is said then.

use super::server::{Folder, Redis, run};

fn check(folder: &Folder, store: &str, more: &str) -> (i32, String) {
    folder.write("password", "a password of the server's");
    let file = folder.write("ann.toml", &format!("address = \"test.ann\"\nworkers = 4\n[store]\nkind = \"redis\"\n{store}{more}"));
    let (code, stdout, stderr) = run(&["--check", &file]);
    (code, format!("{stdout}{stderr}"))
}

#[test]
fn a_configuration_that_can_not_be_meant_is_refused_and_says_where() {
    let folder = Folder::new("wrong");
    let url = "url = \"redis://127.0.0.1:1\"\n";
    for (store, more, said) in [
        ("", "", "3:1: error: store: url is missing; write where the server is"),
        ("url = \"redis://:s3cret@host\"\n", "", "5:7: error: store: url has a user or a password in it"),
        ("url = \"http://host\"\n", "", "5:7: error: store: "),
        (url, "require = \"luck\"\n", "6:11: error: store: require is \"luck\", which is no promise; write require = \"disk\""),
        (url, "require = \"replicas\"\n", "6:11: error: store: require is \"replicas\", but replicas = <how many there are> is missing"),
        (url, "replicas = 0\n", "5:7: error: store: the configuration of the Redis store: 0 replicas are required"),
        (url, "user = \"ann\"\n", "6:8: error: store: user has no password: write password = { file ="),
        (url, "pasword = 1\n", "6:1: error: store: unknown key \"pasword\"; did you mean \"password\"?"),
        (url, "password = \"s3cret\"\n", "6:12: error: store: the password itself must not stand in this file"),
        ("url = \"sentinel://host/main\"\n", "", "Sentinels may make a replica the master"),
        (url, "[process]\nslots = [4]\n", "7:9: error: process: slots has 4, but with workers = 4 there are 0 to 3"),
        (url, "[process]\nslots = [0, 1]\n", "6:1: error: process: listen is missing, so this process can't reach the others"),
        (
            url,
            "[process]\nlisten = \"127.0.0.1\"\nsecret = { file = \"password\" }\n",
            "7:10: error: process: listen is \"127.0.0.1\", but must be a host and a port",
        ),
        (url, "[process]\nlease_ms = 20\n", "7:12: error: process: lease_ms is 20, out of range: it must be from 500 to 600000"),
    ] {
        let (code, output) = check(&folder, store, more);
        assert_eq!(code, 3, "{store}{more}: {output}");
        assert!(output.contains(said), "{said} in {output}");
        assert!(!output.contains("s3cret"), "{output}");
    }
    let (code, output) = check(&folder, url, "password = { file = \"password\" }\nuser = \"ann\"\n");
    assert!(code == 0 && output.contains("books at redis://127.0.0.1:1"), "{output}");
}

#[test]
fn a_server_that_promises_too_little_is_refused() {
    let folder = Folder::new("promise");
    let redis = Redis::start(&folder);
    let file = folder
        .write("ann.toml", &format!("address = \"test.ann\"\n[store]\nkind = \"redis\"\nurl = \"redis://127.0.0.1:{}\"\n", redis.port));
    redis.ask(&["CONFIG", "SET", "appendfsync", "everysec"]);
    let (code, _, stderr) = run(&[&file]);
    assert_eq!(code, 4, "{stderr}");
    assert!(stderr.contains("appendfsync everysec, and always is needed") && stderr.contains("CONFIG SET appendfsync always"), "{stderr}");
    assert!(stderr.contains("ann.toml:4:7"), "{stderr}");
    redis.ask(&["CONFIG", "SET", "requirepass", "secret"]);
    let (code, _, stderr) = run(&[&file]);
    assert!(code == 4 && stderr.contains("NOAUTH"), "{stderr}");
    drop(redis);
    let (code, _, stderr) = run(&[&file]);
    assert!(code == 4 && stderr.contains("no connection to Redis"), "{stderr}");
}
