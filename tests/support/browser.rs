//! A real browser: Debian's Chromium, driven over WebDriver by its own driver, without a window.
//!
//! Conditions are waited for inside the page, where they are seen as soon as they hold; nothing
//! sleeps for a fixed time.

use std::{
    fmt,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

use fantoccini::{
    Client, ClientBuilder, Locator,
    actions::{InputSource as _, KeyAction, KeyActions},
    error::CmdError,
    key::Key,
    wd::{TimeoutConfiguration, WebDriverCompatibleCommand},
};
use hyper::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use url::{ParseError, Url};

/// How long a condition may take to hold: many times what it takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The driver's process: all tests that run at a time share one.
struct Driver {
    process: Child,
    port: String,
}

static DRIVER: Mutex<Weak<Driver>> = Mutex::new(Weak::new());

impl Driver {
    fn shared() -> Arc<Self> {
        let mut known = DRIVER.lock().unwrap_or_else(PoisonError::into_inner);
        known.upgrade().unwrap_or_else(|| {
            let driver = Arc::new(Self::start());
            *known = Arc::downgrade(&driver);
            driver
        })
    }

    fn start() -> Self {
        let mut process = Command::new("chromedriver")
            .args(["--port=0", "--log-level=SEVERE"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!(
                    "the dashboard is tested in a real browser, and \"chromedriver\" can't be started ({error}): \
                     apt-get install chromium chromium-driver"
                )
            });
        let output = BufReader::new(process.stdout.take().unwrap());
        let port = output.lines().map_while(Result::ok).find_map(|line| {
            Some(
                line.split_once("started successfully on port ")?
                    .1
                    .trim_end_matches('.')
                    .to_owned(),
            )
        });
        Self { process, port: port.expect("chromedriver says its port") }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Has a browser of its own do this, and ends it however that ends. What the page wrote to the
/// console must be nothing, but for requests that failed as the test wants it.
pub fn browse<F>(test: impl FnOnce(Page) -> F + Send + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    let driver = Driver::shared();
    let profile = tempfile::Builder::new().prefix("convoy-backups-browser-").tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ended = runtime.block_on(async {
        let page = Page::start(&driver.port, &profile.path().display().to_string()).await;
        let client = page.client.clone();
        let looked = page.clone();
        let ended = tokio::spawn(async move {
            test(page).await;
            looked.has_no_complaints().await;
        })
        .await;
        if ended.is_err() {
            keep_picture(&client).await;
        }
        let closed = client.close().await;
        assert!(ended.is_err() || closed.is_ok(), "the browser does not end: {closed:?}");
        ended
    });
    if let Err(panic) = ended {
        std::panic::resume_unwind(panic.into_panic());
    }
}

/// Keeps a picture of the page on which a test failed.
async fn keep_picture(client: &Client) {
    let name = std::thread::current().name().unwrap_or("test").replace("::", "-");
    let path = format!("{}/{name}.png", env!("CARGO_TARGET_TMPDIR"));
    if let Ok(picture) = client.screenshot().await
        && std::fs::write(&path, picture).is_ok()
    {
        eprintln!("what the browser showed: {path}");
    }
}

/// A page in a browser of its own.
#[derive(Clone)]
pub struct Page {
    client: Client,
}

impl Page {
    async fn start(port: &str, profile: &str) -> Self {
        // The sandbox needs what a container's root has not, and only our own pages are opened.
        // Over a pipe, the browser ends with the driver.
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--no-first-run",
            "--remote-debugging-pipe",
            "--window-size=1400,900",
            &format!("--user-data-dir={profile}"),
        ];
        let wanted = json!({
            // The tests' own.
            "acceptInsecureCerts": true,
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let Value::Object(wanted) = wanted else { unreachable!("it is a map") };
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(wanted)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .unwrap_or_else(|error| {
                panic!("Chromium does not start (apt-get install chromium): {error}")
            });
        let timeouts = TimeoutConfiguration::new(Some(PATIENCE), Some(PATIENCE), None);
        client.update_timeouts(timeouts).await.unwrap();
        Self { client }
    }

    /// Opens an address.
    pub async fn open(&self, address: &str) {
        self.client.goto(address).await.unwrap();
    }

    /// Goes to one of the dashboard's pages, such as `#/runs`, and waits until it shows what it
    /// has.
    pub async fn show(&self, page: &str) {
        // Behind the page's own listener: from then on what is there belongs to the new page.
        let script = "
            const [page, done] = arguments;
            if (location.hash === page) return done();
            addEventListener('hashchange', () => done(), { once: true });
            location.hash = page;";
        let gone = self.client.execute_async(script, vec![json!(page)]).await;
        gone.unwrap_or_else(|error| panic!("can't go to {page}: {error}"));
        self.is_whole().await;
    }

    /// Waits until nothing of the page is on its way any more.
    pub async fn is_whole(&self) {
        self.until(
            "document.querySelector('#main h1') && !document.querySelector('#main .skeleton, #main [aria-busy]')",
        )
        .await;
    }

    /// What an expression gives in the page.
    pub async fn evaluate(&self, expression: &str) -> Value {
        let script = format!("return ({expression});");
        self.client
            .execute(&script, Vec::new())
            .await
            .unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    /// Waits until this holds in the page.
    pub async fn until(&self, condition: &str) {
        let script = format!(
            "const done = arguments[arguments.length - 1];
             const look = () => {{
                 try {{
                     if ({condition}) done('');
                     else setTimeout(look, 15);
                 }} catch (error) {{
                     done(String(error));
                 }}
             }};
             look();"
        );
        match self.client.execute_async(&script, Vec::new()).await {
            Ok(Value::String(wrong)) if wrong.is_empty() => {}
            other => panic!("never: {condition}\n{other:?}\n{}", self.text().await),
        }
    }

    /// Waits until the page has these words where one can see them.
    pub async fn has(&self, words: &str) {
        self.until(&format!("document.body.innerText.includes({})", json!(words))).await;
    }

    /// Waits until the page has these words no more.
    pub async fn has_no(&self, words: &str) {
        self.until(&format!("!document.body.innerText.includes({})", json!(words))).await;
    }

    /// The address and all that one can read.
    pub async fn text(&self) -> String {
        let text = self
            .client
            .execute("return location.hash + '\\n' + document.body.innerText", Vec::new())
            .await;
        text.ok().and_then(|text| text.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// Clicks the button or link with just these words, once it is there and nothing is in its way.
    pub async fn click(&self, words: &str) {
        self.click_in("", words).await;
    }

    /// Clicks the button or link with just these words in this kind of element, such as `dialog`.
    pub async fn click_in(&self, place: &str, words: &str) {
        let place = if place.is_empty() { String::new() } else { format!("//{place}") };
        let path = format!(
            "{place}//*[self::button or self::a][normalize-space(.)='{words}'][not(@disabled)]"
        );
        let start = Instant::now();
        loop {
            let done = async { self.client.find(Locator::XPath(&path)).await?.click().await }.await;
            let Err(error) = done else { return };
            // What is not there yet, was just replaced, or is still behind something else.
            assert!(
                start.elapsed() < PATIENCE,
                "can't click {words:?}: {error}\n{}",
                self.text().await
            );
            self.frame().await;
        }
    }

    /// Waits for the page to be drawn once more.
    async fn frame(&self) {
        let drawn = "requestAnimationFrame(() => arguments[arguments.length - 1]())"
            .replace("arguments", "given");
        let script = format!("const given = arguments; {drawn}");
        drop(self.client.execute_async(&script, Vec::new()).await);
    }

    /// Replaces what a field has with this text, as one who types it.
    pub async fn fill(&self, field: &str, text: &str) {
        self.until(&format!("document.querySelector({})", json!(field))).await;
        let typed: Result<(), CmdError> = async {
            let element = self.client.find(Locator::Css(field)).await?;
            element.clear().await?;
            element.send_keys(text).await
        }
        .await;
        typed.unwrap_or_else(|error| panic!("can't fill {field}: {error}"));
    }

    /// Presses one key.
    pub async fn press(&self, key: Key) {
        self.type_in(&char::from(key).to_string()).await;
    }

    /// Types this, wherever the focus is.
    pub async fn type_in(&self, text: &str) {
        let keys = text.chars().fold(KeyActions::new("keyboard".into()), |keys, value| {
            keys.then(KeyAction::Down { value }).then(KeyAction::Up { value })
        });
        self.client.perform_actions(keys).await.unwrap();
    }

    /// Presses the tabulator until the focus is on what has just these words.
    pub async fn tab_to(&self, words: &str) {
        const MOST: usize = 60;
        for _ in 0..MOST {
            self.press(Key::Tab).await;
            if self.evaluate("document.activeElement.innerText?.trim()").await == words {
                return;
            }
        }
        panic!("{words:?} can't be reached by the tabulator:\n{}", self.text().await);
    }

    /// Has the page as wide as that, in pixels; below 600 it is a phone's.
    pub async fn resize(&self, width: u32, height: u32) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        let command = json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params": metrics });
        self.client.issue_cmd(Vendor { path: "goog/cdp/execute", body: command }).await.unwrap();
        self.until(&format!("innerWidth === {width}")).await;
    }

    /// What the browser wrote to its console since it was asked last, but for requests that failed.
    async fn has_no_complaints(&self) {
        let entries = self
            .client
            .issue_cmd(Vendor { path: "se/log", body: json!({ "type": "browser" }) })
            .await
            .unwrap();
        // A page asks whether one is signed in, and tries again while the server is away: the
        // browser reports both. What a page makes of a failed request is what the tests look at.
        let complaints: Vec<&Value> = entries
            .as_array()
            .unwrap()
            .iter()
            .filter(|entry| entry["source"] != "network")
            .collect();
        assert!(complaints.is_empty(), "the browser's console: {complaints:#?}");
    }
}

/// A command of Chromium's driver that WebDriver does not have.
struct Vendor {
    path: &'static str,
    body: Value,
}

impl fmt::Debug for Vendor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path)
    }
}

impl WebDriverCompatibleCommand for Vendor {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.to_string()))
    }
}
