//! The configuration of a running pgweir: each kind of change, each way to ask for it, and what a bad file
//! does, which is nothing.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pgweir_sandbox::{Node, PortLease, Sandbox};
use rustix::process::Signal;

use crate::harness::{Client, Message, SOON, Scratch, Weir, Wire, get, run, shared, until};

/// An administrator, and a user like any other.
const USERS: &str = "[[user]]\nname = \"boss\"\nadmin = true\n[[user]]\nname = \"app\"\n";

/// A pgweir whose file is written anew.
struct Scene {
    weir: Weir,
    /// What the harness wrote at first, without the nodes.
    usual: String,
}

impl Scene {
    #[track_caller]
    fn start(sandbox: &Sandbox, config: &str) -> Self {
        Self::with_users(sandbox, config, USERS)
    }

    #[track_caller]
    fn with_users(sandbox: &Sandbox, config: &str, users: &str) -> Self {
        let weir = Weir::setup(sandbox)
            .config("auth.method = \"trust\"\nauth.users_file = \"users.toml\"")
            .config(config)
            .file("users.toml", users)
            .start();
        let text = fs::read_to_string(weir.config_file()).unwrap();
        let usual = text.lines().filter(|line| !config.lines().any(|own| own == *line));
        let usual = usual.filter(|line| !line.starts_with("clusters.main.nodes"));
        Self { usual: usual.fold(String::new(), |text, line| text + line + "\n"), weir }
    }

    fn file(&self) -> PathBuf {
        self.weir.config_file()
    }

    /// The usual text with these lines and the nodes of a cluster.
    fn text(&self, nodes: &[&Node], lines: &str) -> String {
        let nodes: Vec<String> = nodes.iter().map(|node| format!("{:?}", node.address())).collect();
        format!("{}clusters.main.nodes = [{}]\n{lines}\n", self.usual, nodes.join(", "))
    }

    /// Puts a text in the place of the file, so that nobody reads half of it.
    fn replace(&self, text: &str) {
        let other = self.file().with_extension("new");
        fs::write(&other, text).unwrap();
        fs::rename(&other, self.file()).unwrap();
    }

    /// Takes over the usual text with these lines, by SIGHUP.
    #[track_caller]
    fn reload(&self, sandbox: &Sandbox, lines: &str) {
        let nodes: Vec<&Node> = sandbox.nodes().iter().collect();
        self.reload_nodes(&nodes, lines);
    }

    #[track_caller]
    fn reload_nodes(&self, nodes: &[&Node], lines: &str) {
        // The watch may be quicker than the signal: what counts is the console's word.
        self.replace(&self.text(nodes, lines));
        let reply = self.boss().query("RELOAD");
        assert!(reply.failure.is_none(), "{:?}", reply.failure);
    }

    #[track_caller]
    fn boss(&self) -> Client {
        self.weir.client("boss", "pgweir")
    }

    fn refused(&self) -> f64 {
        self.weir.metrics().sum("pgweir_config_file_refused", &[])
    }

    fn reloads(&self, result: &str) -> f64 {
        let result = format!("result=\"{result}\"");
        self.weir.metrics().sum("pgweir_config_reloads_total", &[&result])
    }

    /// A key's row of SHOW CONFIG: its value, what it was, when it changed.
    #[track_caller]
    fn config(&self, key: &str) -> [Option<String>; 3] {
        let reply = self.boss().query("SHOW CONFIG");
        assert_eq!(reply.columns[..4], ["key", "value", "default", "changeable"]);
        let row = reply.rows.iter().find(|row| row[0].as_deref() == Some(key));
        let row = row.unwrap_or_else(|| panic!("no {key}"));
        [row[1].clone(), row[4].clone(), row[5].clone()]
    }

    #[track_caller]
    fn wait_for_value(&self, key: &str, value: &str) {
        until(&format!("{key} = {value}"), SOON, || {
            let [now, ..] = self.config(key);
            if now.as_deref() == Some(value) { Ok(()) } else { Err(now) }
        });
    }
}

fn backend(client: &mut Client) -> String {
    client.ask("SELECT pg_backend_pid()")
}

// ---- ways to ask for it ----

#[test]
fn a_signal_the_console_and_the_file_itself_bring_it_about() {
    let scene = Scene::start(shared(), "pool.size = 3");
    let nodes: Vec<&Node> = shared().nodes().iter().collect();
    let mut client = scene.weir.postgres();
    let pid = backend(&mut client);
    assert_eq!(scene.config("pool.size"), [Some("3".to_owned()), None, None]);

    scene.replace(&scene.text(&nodes, "pool.size = 4"));
    scene.weir.signal(Signal::HUP);
    scene.wait_for_value("pool.size", "4");
    let [_, was, at] = scene.config("pool.size");
    assert_eq!(was.as_deref(), Some("3"));
    assert!(at.unwrap().ends_with(" UTC"));

    // In place, as some editors write.
    fs::write(scene.file(), scene.text(&nodes, "pool.size = 5")).unwrap();
    scene.wait_for_value("pool.size", "5");
    // By another file in its place, as others do.
    scene.replace(&scene.text(&nodes, "pool.size = 6"));
    scene.wait_for_value("pool.size", "6");
    // Of the same length, in the same moment as the last.
    fs::write(scene.file(), scene.text(&nodes, "pool.size = 7")).unwrap();
    scene.wait_for_value("pool.size", "7");

    let psql = |sql: &str| {
        let mut psql = shared().program("psql");
        run(psql.args(["-X", "-d", &scene.weir.conninfo("boss", "pgweir"), "-c", sql]), "", SOON)
    };
    scene.replace(&scene.text(&nodes, "pool.size = 8\npool.min_idle = 1"));
    let told = psql("RELOAD");
    assert!(told.stdout.contains("RELOAD"), "{told:?}");
    assert_eq!(scene.config("pool.size")[0].as_deref(), Some("8"));
    assert_eq!(scene.config("pool.min_idle")[0].as_deref(), Some("1"));

    // Key by key in the log.
    let log = scene.weir.log();
    for line in ["pool.size: 3 -> 4", "pool.size: 7 -> 8", "pool.min_idle: 0 -> 1"] {
        assert!(log.contains(line), "{line} in {log}");
    }
    // Nothing was to become of the connection.
    assert_eq!(backend(&mut client), pid);
    assert!(scene.reloads("accepted") >= 5.0);
    assert!(scene.weir.metrics().sum("pgweir_config_last_success_timestamp_seconds", &[]) > 1.7e9);
}

/// Kubernetes mounts a ConfigMap as links to links: `..data` leads to the files of one version, and is
/// exchanged as a whole.
#[test]
fn a_config_map_that_is_exchanged_is_live_within_a_second() {
    let scene = Scene::start(shared(), "pool.size = 3");
    let nodes: Vec<&Node> = shared().nodes().iter().collect();
    let directory = scene.file().parent().unwrap().to_owned();
    let version = |name: &str, text: &str, users: &str| {
        fs::create_dir(directory.join(name)).unwrap();
        fs::write(directory.join(name).join("pgweir.toml"), text).unwrap();
        fs::write(directory.join(name).join("users.toml"), users).unwrap();
    };
    let exchange = |name: &str| {
        symlink(name, directory.join("..data_tmp")).unwrap();
        fs::rename(directory.join("..data_tmp"), directory.join("..data")).unwrap();
    };
    let link = |name: &str| {
        let other = directory.join("link");
        symlink(Path::new("..data").join(name), &other).unwrap();
        fs::rename(&other, directory.join(name)).unwrap();
    };
    version("..v1", &scene.text(&nodes, "pool.size = 11"), USERS);
    exchange("..v1");
    link("users.toml");
    link("pgweir.toml");
    scene.wait_for_value("pool.size", "11");

    let mut console = scene.boss();
    for number in 2..6 {
        let size = (10 + number).to_string();
        let users = format!("{USERS}[[user]]\nname = \"user{number}\"\nadmin = true\n");
        version(
            &format!("..v{number}"),
            &scene.text(&nodes, &format!("pool.size = {size}")),
            &users,
        );
        exchange(&format!("..v{number}"));
        let exchanged = Instant::now();
        until("the new version", SOON, || {
            let reply = console.query("SHOW CONFIG");
            let is_new = |row: &Vec<Option<String>>| {
                row[0].as_deref() == Some("pool.size") && row[1].as_ref() == Some(&size)
            };
            if reply.rows.iter().any(is_new) { Ok(()) } else { Err(size.clone()) }
        });
        let took = exchanged.elapsed();
        assert!(took < Duration::from_secs(1), "{took:?}");
        // The users came with it.
        scene.weir.client(&format!("user{number}"), "pgweir");
    }
}

#[test]
fn files_that_it_refers_to_are_watched_and_one_that_is_missing_is_waited_for() {
    let weir = Weir::setup(shared())
        .config("clusters.main.monitor.password_file = \"password\"")
        .file("password", "one\n")
        .start();
    let password = weir.config_file().with_file_name("password");
    let changed = "clusters.main.monitor.password: \"***\" -> \"***\"";
    fs::write(&password, "two\n").unwrap();
    until("the new password", SOON, || {
        let log = weir.log();
        if log.contains(changed) { Ok(()) } else { Err(log) }
    });
    fs::remove_file(&password).unwrap();
    until("a word about its absence", SOON, || {
        let log = weir.log();
        if log.contains("monitor.password_file: cannot read") { Ok(()) } else { Err(log) }
    });
    let refused = || weir.metrics().sum("pgweir_config_file_refused", &[]);
    assert_eq!(refused(), 1.0);
    fs::write(&password, "three\n").unwrap();
    until("the file in force again", SOON, || match refused() {
        0.0 => Ok(()),
        other => Err(other),
    });
    assert_eq!(weir.log().matches(changed).count(), 2, "{}", weir.log());
}

#[test]
fn a_key_that_is_set_on_the_console_holds_until_the_next_reload() {
    let scene = Scene::start(shared(), "pool.size = 3");
    let lease = PortLease::any().unwrap();
    let _other = std::net::TcpListener::bind(("127.0.0.1", lease.port())).unwrap();
    let taken = format!("SET listen.address = '127.0.0.1:{}'", lease.port());
    let mut boss = scene.boss();
    for (command, key, value) in [
        ("SET pool.size = 5", "pool.size", "5"),
        ("SET pool.size TO '6'", "pool.size", "6"),
        ("SET pool.checkout_timeout = 3s", "pool.checkout_timeout", "\"3s\""),
        ("SET log.level = debug", "log.level", "\"debug\""),
        ("SET routing.read_functions = ['f', \"g\"]", "routing.read_functions", "[\"f\", \"g\"]"),
    ] {
        let reply = boss.query(command);
        assert_eq!((reply.failure, reply.commands), (None, vec!["SET".to_owned()]), "{command}");
        assert_eq!(scene.config(key)[0].as_deref(), Some(value), "{command}");
    }
    for (command, words) in [
        ("SET pool.size = 0", "out of range"),
        ("SET pool.size = many", "expected"),
        ("SET pool.sise = 5", "unknown key"),
        ("SET log.level = loud", "log.level"),
        (taken.as_str(), "cannot listen"),
    ] {
        let failure = boss.fail(command);
        assert_eq!(failure.code(), "22023", "{command}: {failure}");
        assert!(failure.message().contains(words), "{command}: {failure}");
    }
    assert_eq!(scene.refused(), 0.0, "the file is as good as ever");
    assert_eq!(boss.query("RELOAD").failure, None);
    assert_eq!(scene.config("pool.size")[0].as_deref(), Some("3"));
    assert_eq!(scene.config("log.level")[0].as_deref(), Some("\"info\""));
}

// ---- what is refused ----

#[test]
fn a_bad_file_changes_nothing_and_is_reported_everywhere() {
    let scene = Scene::start(shared(), "pool.size = 3");
    let nodes: Vec<&Node> = shared().nodes().iter().collect();
    let mut client = scene.weir.postgres();
    let pid = backend(&mut client);
    let good = scene.text(&nodes, "pool.size = 3");
    let line = good.lines().count() + 1;
    for (lines, place, words) in [
        ("pool.size = 4\npool.sise = 9", format!(":{line}:6: pool.sise"), "did you mean"),
        ("pool.size = \"x\"", format!(":{}:13: pool.size", line - 1), "expected"),
        ("log.level = 'debug'\n[", format!(":{line}:"), ""),
        (
            "pool.size = 4\nlisten.unix_socket_dir = \"/nowhere/at/all\"",
            format!(":{line}:26: listen.unix_socket_dir"),
            "cannot listen",
        ),
        (
            "pool.size = 4\nauth.query = 'SELECT 1'",
            format!(":{line}:14: auth.query"),
            "does not ask",
        ),
    ] {
        scene.replace(&scene.text(&nodes, lines));
        let failure = scene.boss().fail("RELOAD");
        assert_eq!(failure.code(), "F0000", "{failure}");
        let told = format!("{} {}", failure.message(), failure.field('D'));
        assert!(told.contains(&place) && told.contains(words), "{place} {words} in {told}");
        assert!(scene.weir.log().contains(&place), "{place} in the log");
        assert_eq!(scene.refused(), 1.0);
        let state = scene.boss().query("SHOW STATE").text();
        assert!(state.contains(&place), "{place} in {state}");
        assert_eq!(scene.config("pool.size")[0].as_deref(), Some("3"), "{lines}");
        assert_eq!(scene.config("log.level")[0].as_deref(), Some("\"info\""), "{lines}");
        assert_eq!(get(scene.weir.http_port(), "/readyz").unwrap().0, 200);
        assert_eq!(backend(&mut client), pid);
    }
    scene.replace(&good);
    until("the file in force again", SOON, || {
        let refused = scene.refused();
        if refused == 0.0 { Ok(()) } else { Err(refused) }
    });
    assert!(scene.boss().query("SHOW STATE").text().contains("in force"));
}

#[test]
fn an_address_that_is_taken_is_no_reason_to_lose_the_others() {
    let scene = Scene::start(shared(), "");
    let taken = PortLease::any().unwrap();
    let _other = std::net::TcpListener::bind(("127.0.0.1", taken.port())).unwrap();
    let free = PortLease::any().unwrap();
    let own = scene.weir.port();
    let nodes: Vec<&Node> = shared().nodes().iter().collect();
    let text = scene.text(&nodes, "pool.size = 4").replace(
        &format!("listen.address = \"127.0.0.1:{own}\""),
        &format!(
            "listen.address = [\"127.0.0.1:{}\", \"127.0.0.1:{}\"]",
            free.port(),
            taken.port()
        ),
    );
    scene.replace(&text);
    let failure = scene.boss().fail("RELOAD");
    assert!(failure.message().contains(&format!("cannot listen on 127.0.0.1:{}", taken.port())));
    assert!(failure.message().contains("listen.address"), "{failure}");
    assert!(Wire::open(free.port()).is_err(), "nothing of it has become true");
    assert_eq!(scene.config("pool.size")[0].as_deref(), Some("20"));
    assert_eq!(scene.weir.postgres().ask("SELECT 1"), "1");
}

// ---- what changes ----

#[test]
fn nodes_come_and_go_and_clients_stay() {
    let scene = Scene::start(shared(), "pool.size = 2");
    let [first, second, third] = shared().nodes() else { panic!("three nodes") };
    let mut reader = scene.weir.postgres();
    let mut worker = scene.weir.postgres();
    // Where its snapshot is shown it stays.
    worker.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    let node = worker.where_ran("SELECT 1");
    let pid = backend(&mut worker);
    let (gone, stays) = if node == second.address() { (second, third) } else { (third, second) };
    assert_eq!(node, gone.address());
    let lines = "pool.size = 2";
    scene.reload_nodes(&[first, stays], lines);
    // It is not asked any more, and reads go to the other.
    for _ in 0..20 {
        assert_eq!(reader.where_ran("SELECT 1"), stays.address());
    }
    let nodes = scene.boss().query("SHOW NODES").text();
    assert!(!nodes.contains(&gone.address()) && nodes.contains(&stays.address()), "{nodes}");
    // The transaction finishes where it began, and the connection is closed then.
    assert_eq!(backend(&mut worker), pid);
    worker.query("COMMIT");
    assert_eq!(worker.where_ran("SELECT 1"), stays.address());
    let alive = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}");
    until("the old connection's end", SOON, || match gone.psql(&alive).unwrap().as_str() {
        "0" => Ok(()),
        count => Err(count.to_owned()),
    });
    let metrics = scene.weir.metrics();
    let label = format!("node=\"{}\"", gone.address());
    assert_eq!(metrics.count("pgweir_node_up", &[&label]), 0, "it leaves no state behind");
    // It comes back.
    scene.reload_nodes(&[first, second, third], lines);
    scene.weir.wait_for_replicas(2);
    until("a read there", SOON, || {
        let node = reader.where_ran("SELECT 1");
        if node == gone.address() { Ok(()) } else { Err(node) }
    });
}

#[test]
fn routing_weights_and_the_pools_of_clients_that_are_here_change() {
    let scene = Scene::start(shared(), "pool.size = 4");
    let mut client = scene.weir.postgres();
    let primary = shared().primary().address();
    assert_ne!(client.where_ran("SELECT 1"), primary);
    scene.reload(shared(), "pool.size = 4\nrouting.reads = \"primary\"");
    for _ in 0..5 {
        assert_eq!(client.where_ran("SELECT 1"), primary);
    }
    scene.reload(shared(), "pool.size = 4");
    // It has read on the primary: it waits for a replica that shows as much.
    until("a read on a replica", SOON, || {
        let node = client.where_ran("SELECT 1");
        if node == primary { Err(node) } else { Ok(()) }
    });

    // The one replica with nearly all of the weight serves nearly all reads.
    let [first, second, third] = shared().nodes() else { panic!("three nodes") };
    let mut text = scene.text(&[first], "routing.balance = \"random\"");
    let _ = writeln!(
        text,
        "clusters.main.nodes = [{:?}, {{ host = \"127.0.0.1\", port = {}, weight = 1000 }}, {:?}]",
        first.address(),
        second.port(),
        third.address()
    );
    let only = format!("clusters.main.nodes = [{:?}]\n", first.address());
    scene.replace(&text.replacen(&only, "", 1));
    assert_eq!(scene.boss().query("RELOAD").failure, None);
    let reads = (0..60).filter(|_| client.where_ran("SELECT 1") == second.address()).count();
    assert!(reads >= 55, "{reads} of 60");
}

#[test]
fn the_pools_size_bounds_clients_that_are_here() {
    let sandbox = Sandbox::builder().replicas(0).start().unwrap();
    let scene = Scene::start(&sandbox, "pool.size = 3\npool.checkout_timeout = \"300ms\"");
    let mut clients: Vec<Client> = (0..3).map(|_| scene.weir.postgres()).collect();
    for client in &mut clients {
        client.query("BEGIN");
        client.ask("SELECT 1");
    }
    scene.reload(&sandbox, "pool.size = 1\npool.checkout_timeout = \"300ms\"");
    for client in &mut clients {
        assert_eq!(client.query("COMMIT").failure, None, "nobody loses what it has");
    }
    clients[0].query("BEGIN");
    clients[0].ask("SELECT 1");
    assert_eq!(clients[1].fail("SELECT 1").code(), "53300");
    scene.reload(&sandbox, "pool.size = 2\npool.checkout_timeout = \"300ms\"");
    assert_eq!(clients[1].ask("SELECT 1"), "1");
    clients[0].query("COMMIT");
}

#[test]
fn a_client_in_session_mode_keeps_its_connection_until_it_leaves() {
    let scene = Scene::start(shared(), "pool.mode = \"session\"");
    let mut old = scene.weir.postgres();
    let pid = backend(&mut old);
    scene.reload(shared(), "pool.mode = \"transaction\"");
    assert_eq!(backend(&mut old), pid);
    let mut new = scene.weir.postgres();
    new.query("SET application_name = 'new'");
    let pins = |scene: &Scene| scene.boss().query("SHOW PINS").rows.len();
    assert_eq!(pins(&scene), 1);
    scene.reload(shared(), "pool.mode = \"session\"");
    let first = backend(&mut new);
    assert_eq!(backend(&mut new), first);
    assert_eq!(pins(&scene), 2, "the next transaction keeps its connection");
}

#[test]
fn a_database_that_is_gone_ends_its_clients_at_rest_and_one_that_moves_takes_them_along() {
    let (here, there) = (Scratch::new("reload_here"), Scratch::new("reload_there"));
    let database = |name: &str, dbname: &str| format!("databases.{name}.dbname = \"{dbname}\"\n");
    let usual = database("moves", here.name()) + &database("stays", here.name());
    let scene = Scene::start(shared(), &(usual + &database("goes", here.name())));
    let mut idle = scene.weir.client("postgres", "goes");
    let mut busy = scene.weir.client("postgres", "goes");
    let mut moving = scene.weir.client("postgres", "moves");
    let mut staying = scene.weir.client("postgres", "stays");
    idle.ask("SELECT 1");
    busy.query("BEGIN");
    busy.query("CREATE TABLE done (id int)");
    assert_eq!(moving.ask("SELECT current_database()"), here.name());
    let pid = backend(&mut staying);
    scene.reload(shared(), &(database("moves", there.name()) + &database("stays", here.name())));
    let goodbye = crate::harness::Failure::parse(&idle.wire.frame().unwrap().body);
    assert_eq!((goodbye.code(), goodbye.field('S')), ("57P01", "FATAL"), "{goodbye}");
    assert!(goodbye.message().contains("\"goes\""), "{goodbye}");
    assert!(idle.wire.is_closed());
    let reply = busy.query("COMMIT");
    assert_eq!((reply.failure, reply.status), (None, 'I'), "its transaction comes first");
    assert!(busy.wire.is_closed());
    assert_eq!(staying.ask("SELECT count(*) FROM done"), "0");
    assert_eq!(moving.ask("SELECT current_database()"), there.name());
    assert_eq!(backend(&mut staying), pid);
    let refused = Client::connect(scene.weir.port(), "postgres", "goes", &[]).unwrap_err();
    assert_eq!(refused.code(), "3D000");
}

#[test]
fn the_users_file_decides_anew_and_who_is_here_stays() {
    let user = |name: &str, password: &str| {
        format!("[[user]]\nname = \"{name}\"\npassword = \"{password}\"\n")
    };
    let admin = "[[user]]\nname = \"boss\"\nadmin = true\n";
    let sandbox = shared();
    let scene = Scene::with_users(sandbox, "log.level = \"info\"", admin);
    let users = scene.file().with_file_name("users.toml");
    let is_known = |name: &str| {
        let reply = scene.boss().query("SHOW USERS");
        reply.rows.iter().any(|row| row[0].as_deref() == Some(name))
    };
    assert!(!is_known("later"));
    fs::write(&users, format!("{admin}{}", user("later", "s3cret"))).unwrap();
    until("the new user", SOON, || if is_known("later") { Ok(()) } else { Err("unknown") });
    let log = scene.weir.log();
    assert!(log.contains("users.later: none -> { password = \"***\" }"), "{log}");
    assert!(!log.contains("s3cret"));
    // A changed secret shows as such, and as nothing more.
    fs::write(&users, format!("{admin}{}", user("later", "an0ther"))).unwrap();
    until("the new secret", SOON, || {
        let log = scene.weir.log();
        let line = "users.later: { password = \"***\" } -> { password = \"***\" }";
        if log.contains(line) { Ok(()) } else { Err(log) }
    });
    // Rights on the console end with the file's word for them.
    let mut boss = scene.boss();
    fs::write(&users, "[[user]]\nname = \"boss\"\nadmin = \"read-only\"\n").unwrap();
    until("fewer rights", SOON, || {
        let failure = boss.query("RESUME").failure;
        match failure.as_ref().map(crate::harness::Failure::code) {
            Some("42501") => Ok(()),
            _ => Err(failure),
        }
    });
}

#[test]
fn addresses_come_and_go_and_clients_stay() {
    let scene = Scene::start(shared(), "");
    let (own, other, http) =
        (scene.weir.port(), PortLease::any().unwrap(), PortLease::any().unwrap());
    let nodes: Vec<&Node> = shared().nodes().iter().collect();
    let listen = |address: &str, http: u16, lines: &str| {
        scene
            .text(&nodes, lines)
            .replace(
                &format!("listen.address = \"127.0.0.1:{own}\""),
                &format!("listen.address = {address}"),
            )
            .replace(&format!(":{}\"", scene.weir.http_port()), &format!(":{http}\""))
    };
    let directory = scene.file().parent().unwrap().to_owned();
    let socket = directory.join(format!(".s.PGSQL.{}", other.port()));
    let mut client = scene.weir.postgres();
    let unix = format!("listen.unix_socket_dir = {:?}", directory.display().to_string());
    let text = listen(
        &format!("[\"127.0.0.1:{}\", \"127.0.0.1:{own}\"]", other.port()),
        http.port(),
        &unix,
    );
    scene.replace(&text);
    assert_eq!(scene.boss().query("RELOAD").failure, None);
    let mut later = Client::connect(other.port(), "postgres", "postgres", &[]).unwrap();
    assert_eq!(later.ask("SELECT 1"), "1");
    assert!(socket.exists());
    assert_eq!(get(http.port(), "/livez").unwrap().0, 200);
    assert!(get(scene.weir.http_port(), "/livez").is_none());

    // The first address gives way to one that covers it: the port is the same.
    let text = listen(&format!("\"0.0.0.0:{own}\""), scene.weir.http_port(), "");
    scene.replace(&text);
    let mut boss = Client::connect(other.port(), "boss", "pgweir", &[]).unwrap();
    assert_eq!(boss.query("RELOAD").failure, None);
    until("the old doors to close", SOON, || match Wire::open(other.port()) {
        Err(_) if !socket.exists() => Ok(()),
        open => Err((open.is_ok(), socket.exists())),
    });
    assert_eq!(scene.weir.postgres().ask("SELECT 1"), "1");
    assert_eq!(client.ask("SELECT 1"), "1");
    assert_eq!(later.ask("SELECT 1"), "1", "who is here stays");
    // Both ways.
    scene.replace(&listen(&format!("\"127.0.0.1:{own}\""), scene.weir.http_port(), ""));
    assert_eq!(scene.boss().query("RELOAD").failure, None);
    assert_eq!(scene.weir.postgres().ask("SELECT 1"), "1");
}

#[test]
fn certificates_are_read_again() {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let pair = || rcgen::generate_simple_self_signed(names.clone()).unwrap();
    let (first, second) = (pair(), pair());
    let lines = "listen.tls = { mode = \"allow\", cert_file = \"s.crt\", key_file = \"s.key\" }";
    let weir = Weir::setup(shared())
        .config(lines)
        .file("s.crt", first.cert.pem())
        .file("s.key", first.signing_key.serialize_pem())
        .start();
    let directory = weir.config_file().parent().unwrap().to_owned();
    let trusted = |pem: String, name: &str| {
        fs::write(directory.join(name), pem).unwrap();
        let conninfo = format!(
            "{} sslmode=verify-full sslrootcert={}",
            weir.conninfo("postgres", "postgres"),
            directory.join(name).display()
        );
        let mut psql = shared().program("psql");
        run(psql.args(["-XAtq", "-d", &conninfo, "-c", "SELECT 1"]), "", SOON).stdout == "1\n"
    };
    let mut client = weir.postgres();
    assert!(trusted(first.cert.pem(), "ca1"));
    // A certificate without its key is no pair, and changes nothing.
    fs::write(directory.join("s.crt"), second.cert.pem()).unwrap();
    until("a word about it", SOON, || {
        let log = weir.log();
        if log.contains("listen.tls.cert_file: certificate and key") { Ok(()) } else { Err(log) }
    });
    assert!(trusted(first.cert.pem(), "ca1"));
    fs::write(directory.join("s.key"), second.signing_key.serialize_pem()).unwrap();
    until("the new certificate", SOON, || {
        if trusted(second.cert.pem(), "ca2") { Ok(()) } else { Err(weir.log()) }
    });
    assert!(weir.log().contains("new contents"), "{}", weir.log());
    assert_eq!(client.ask("SELECT 1"), "1");
}

#[test]
fn bounds_the_firewall_and_the_log_change() {
    let scene = Scene::start(shared(), "");
    let mut client = scene.weir.postgres();
    let text = format!("SELECT '{}'", "x".repeat(2000));
    assert_eq!(client.query(&text).failure, None);
    let lines = "limits.max_message = \"1KiB\"\nlisten.max_clients = 2\nlog.level = \"debug\"\n\
                 firewall.block = [\"SELECT 7 AS seven\"]";
    scene.reload(shared(), lines);
    assert_eq!(client.fail("SELECT 8 AS seven").code(), "42501");
    let mut second = scene.weir.postgres();
    let refused = Client::connect(scene.weir.port(), "postgres", "postgres", &[]).unwrap_err();
    assert_eq!(refused.code(), "53300");
    client.wire.send(&Message::new().query(&text));
    assert!(client.wire.frame().is_some_and(|frame| frame.tag == b'E'));
    scene.reload(shared(), "");
    assert_eq!(second.query(&text).failure, None);
    assert_eq!(second.ask("SELECT 7 AS seven"), "7");
    assert_eq!(scene.weir.postgres().ask("SELECT 1"), "1");
}

#[test]
fn threads_stay_as_they_are_until_the_next_start_and_it_says_so() {
    let scene = Scene::start(shared(), "");
    scene.reload(shared(), "runtime.workers = 2");
    let reply = scene.boss().query("SHOW CONFIG");
    let row = reply.rows.iter().find(|row| row[0].as_deref() == Some("runtime.workers")).unwrap();
    let cells: Vec<_> = row.iter().map(|cell| cell.as_deref().unwrap_or("-")).collect();
    assert_eq!(cells, ["runtime.workers", "1", "1", "no", "-", "-", "2"]);
    let log = scene.weir.log();
    assert!(log.contains("runtime.workers = 2 takes effect when pgweir is started again"), "{log}");
    scene.reload(shared(), "");
    let reply = scene.boss().query("SHOW CONFIG");
    let row = reply.rows.iter().find(|row| row[0].as_deref() == Some("runtime.workers")).unwrap();
    assert_eq!(row[6], None);
}
