//! A real browser on a host of the lab: Chromium, driven over WebDriver by the driver that comes with it.
//!
//! Source: W3C WebDriver; what goes beyond it, ChromeDriver's `goog/cdp` and `se/log`, says so.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Host, Running, find, tools_dir, wait_for};

const PORT: u16 = 9515;
const PATIENCE: Duration = Duration::from_secs(30);

/// The programs that it takes.
pub const BROWSER: [&str; 2] = ["chromium", "chromedriver"];

/// A browser with one window.
pub struct Browser {
    host: Host,
    session: String,
    profile: PathBuf,
    _driver: Running,
}

impl Browser {
    /// Starts one on this host.
    #[track_caller]
    pub fn start(host: &Host) -> Browser {
        let mut command = host.command("env");
        command.args(fonts()).args(libraries()).arg(find("chromedriver").expect("it was asked for").path);
        command.arg(format!("--port={PORT}")).arg("--log-level=SEVERE");
        let driver = Running::start("chromedriver", command);
        host.wait_listening(PORT);
        let profile = std::env::temp_dir().join(format!("pillory-browser-{}", driver.pid()));
        // Nothing that it would do in the background by itself.
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            "--disable-dev-shm-usage",
            &format!("--user-data-dir={}", profile.display()),
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"binary": binary(), "args": arguments, "perfLoggingPrefs": {"enableNetwork": true}},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }}});
        let mut browser = Browser { host: host.clone(), session: String::new(), profile, _driver: driver };
        let made = browser.ask("POST", "", &wanted);
        browser.session = format!("/{}", made["sessionId"].as_str().expect("a session"));
        browser
    }

    /// Opens a page, and waits until it is loaded.
    #[track_caller]
    pub fn open(&self, url: &str) {
        self.ask("POST", "/url", &json!({"url": url}));
    }

    /// What a script returns that runs in the page.
    #[track_caller]
    pub fn run(&self, script: &str) -> Value {
        self.ask("POST", "/execute/sync", &json!({"script": script, "args": []}))
    }

    /// Waits until a script returns true.
    #[track_caller]
    pub fn wait_until(&self, what: &str, script: &str) {
        wait_for(Duration::from_secs(10), what, || (self.run(script) == true).then_some(()));
    }

    /// Waits until nothing of the page is beyond its right edge: a phone's view is scaled anew some time after a page is
    /// loaded.
    #[track_caller]
    pub fn wait_until_it_fits(&self, page: &str) {
        let fits = "const root = document.documentElement; return root.scrollWidth === root.clientWidth";
        self.wait_until(&format!("{page} without a sideways scroll"), fits);
    }

    /// The size of the page's own area, in CSS pixels.
    #[track_caller]
    pub fn resize(&self, width: u32, height: u32) {
        let metrics =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics);
    }

    /// Whether the reader prefers dark pages.
    #[track_caller]
    pub fn prefer(&self, scheme: &str) {
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", &features);
    }

    /// Whether pages may run scripts, from the next page on.
    #[track_caller]
    pub fn allow_scripts(&self, are_allowed: bool) {
        self.devtools("Emulation.setScriptExecutionDisabled", &json!({"value": !are_allowed}));
    }

    /// Keeps a picture of the page under `target/screenshots`.
    #[track_caller]
    pub fn keep_picture(&self, name: &str) {
        let told = self.devtools("Page.captureScreenshot", &json!({"format": "png"}));
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/screenshots");
        std::fs::create_dir_all(&directory).expect("the directory is made");
        let text = told["data"].as_str().expect("a picture");
        std::fs::write(directory.join(name), base64(text)).expect("the picture is written");
    }

    /// What pages said at the console since this was asked last.
    #[track_caller]
    pub fn console(&self) -> Vec<String> {
        let entries = self.ask("POST", "/se/log", &json!({"type": "browser"}));
        entries.as_array().into_iter().flatten().map(ToString::to_string).collect()
    }

    /// The addresses of everything that was fetched since this was asked last.
    #[track_caller]
    pub fn fetched(&self) -> Vec<String> {
        let entries = self.ask("POST", "/se/log", &json!({"type": "performance"}));
        let url = |entry: &Value| {
            let message: Value = serde_json::from_str(entry["message"].as_str()?).ok()?;
            let is_request = message["message"]["method"] == "Network.requestWillBeSent";
            message["message"]["params"]["request"]["url"].as_str().filter(|_| is_request).map(str::to_owned)
        };
        entries.as_array().into_iter().flatten().filter_map(url).collect()
    }

    #[track_caller]
    fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.ask("POST", "/goog/cdp/execute", &json!({"cmd": command, "params": parameters}))
    }

    #[track_caller]
    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let (path, body) = (format!("/session{}{path}", self.session), body.to_string());
        let answer = self.host.in_network(|| exchange(method, &path, &body)).expect("the driver answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer of HTTP");
        let told: Value = serde_json::from_str(body).expect("JSON");
        assert!(head.starts_with("HTTP/1.1 200"), "{method} {path}: {}", told["value"]["message"]);
        told["value"].clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let path = format!("/session{}", self.session);
        // It ends the browser, which the driver's own end does not.
        let _ = self.host.in_network(|| exchange("DELETE", &path, ""));
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

fn exchange(method: &str, path: &str, body: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, PORT))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = body.len();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: localhost:{PORT}\r\nConnection: close\r\n")?;
    write!(stream, "Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")?;
    // The connection stays open whatever was asked.
    let mut answer = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    while !head.ends_with("\r\n\r\n") && answer.read_line(&mut head)? > 0 {
        let last = head.trim_end().rsplit('\n').next().unwrap_or_default().to_ascii_lowercase();
        length =
            last.strip_prefix("content-length:").map_or(length, |number| number.trim().parse().unwrap_or(0));
    }
    let mut body = vec![0; length];
    answer.read_exact(&mut body)?;
    Ok(head + &String::from_utf8_lossy(&body))
}

/// The unpacked one's launcher looks for it where it is not.
fn binary() -> String {
    let unpacked = tools_dir().join("usr/lib/chromium/chromium").canonicalize();
    unpacked.unwrap_or_else(|_| "/usr/bin/chromium".into()).display().to_string()
}

/// What an unpacked one needs; nothing for an installed one.
fn libraries() -> Vec<String> {
    find("chromedriver")
        .and_then(|tool| tool.libraries)
        .map(|all| format!("LD_LIBRARY_PATH={all}"))
        .into_iter()
        .collect()
}

/// Where unpacked fonts are, if they had to be.
fn fonts() -> Vec<String> {
    let Ok(root) = tools_dir().canonicalize() else { return Vec::new() };
    let (config, data) = (root.join("etc/fonts"), root.join("usr/share"));
    let set =
        || vec![format!("FONTCONFIG_PATH={}", config.display()), format!("XDG_DATA_HOME={}", data.display())];
    if config.is_dir() { set() } else { Vec::new() }
}

fn base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let value = |byte: u8| DIGITS.iter().position(|digit| *digit == byte);
    let values: Vec<usize> = text.bytes().filter_map(value).collect();
    let bytes = values.chunks(4).flat_map(|group| {
        let bits = group.iter().fold(0, |bits, value| bits << 6 | value) << (6 * (4 - group.len()));
        let whole = [bits >> 16, bits >> 8, bits].map(|byte| byte as u8);
        whole.into_iter().take(group.len() * 6 / 8)
    });
    bytes.collect()
}
