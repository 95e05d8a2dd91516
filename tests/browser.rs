//! The dashboard, as one who uses it meets it: a real browser, a real `serve`.

use std::fs;

use fantoccini::key::Key;

use crate::{
    serve::{make_old, until},
    support::{
        browser::{Page, browse},
        running::Running,
        site::Site,
    },
};

const TOKEN: &str = "token-that-is-good-for-everything";
const READ_TOKEN: &str = "token-that-is-good-for-looking-only";

/// A script that fails in its fourth line.
const FAILS: &str = "//! Looks for what is not there.\n\n\
    fn main(args) {\n\
    \x20   convoy::volumes()[99].Name\n\
    }\n";

/// A script that goes on until somebody ends it.
const WAITS: &str = "//! Waits.\n\n\
    fn main(args) {\n\
    \x20   log::info(\"it waits now\");\n\
    \x20   sleep(3600);\n\
    }\n";

/// `serve` of a site, and where its dashboard is.
struct Dashboard {
    /// Before the site, so that it ends before its files go.
    serve: Running,
    address: String,
    site: Site,
}

impl Dashboard {
    /// With one volume, a crontab that starts nothing while a test runs, and the scripts above.
    fn new() -> Self {
        Self::of(site_with_volume())
    }

    fn of(site: Site) -> Self {
        let (serve, address) = serve(&site);
        Self { serve, address, site }
    }

    /// Starts it again, at the same address.
    fn comes_back(self) -> Self {
        let site = self.site.with("BKUP_API_LISTEN", self.address.trim_start_matches("http://"));
        Self::of(site)
    }

    /// Signs in with this token, at one of the pages, such as `#/runs`.
    async fn sign_in(&self, page: &Page, token: &str, place: &str) {
        page.open(&format!("{}/{place}", self.address)).await;
        page.fill("#token", token).await;
        page.click("Sign in").await;
        page.is_whole().await;
    }
}

fn site() -> Site {
    let site = Site::builtin();
    let (crontab, scripts) = (site.path("crontab"), site.path("scripts"));
    fs::write(&crontab, "0 0 1 1 *  backup --create-snapshot\n").unwrap();
    fs::write(scripts.join("fails.rhai"), FAILS).unwrap();
    fs::write(scripts.join("waits.rhai"), WAITS).unwrap();
    site.with("BKUP_CRONTAB", crontab.display().to_string())
        .with("BKUP_SCRIPTS_DIR", scripts.display().to_string())
        .with("BKUP_API_TOKEN", TOKEN)
        .with("BKUP_API_READ_TOKEN", READ_TOKEN)
        .with("BKUP_MAX_BACKUP_AGE", "1d")
}

fn site_with_volume() -> Site {
    let site = site();
    site.create("vol1", &[("file", "content")]);
    site
}

/// `serve`, when it listens, and where.
fn serve(site: &Site) -> (Running, String) {
    let mut command = site.command();
    command.arg("serve");
    let running = Running::start(command, &site.path("daemon/convoy.sock"), site.path("serve.log"));
    let mut address = None;
    until("it does not listen", &running, || {
        let log = running.log();
        address = log
            .split_once("listening on ")
            .and_then(|(_, rest)| Some(rest.lines().next()?.trim().to_owned()));
        address.is_some() && log.ends_with('\n')
    });
    (running, address.unwrap())
}

#[test]
fn by_keyboard_alone_one_signs_in_backs_a_volume_up_and_watches_it_end() {
    let site = site_with_volume();
    make_old(&site, "vol1");
    let dashboard = Dashboard::of(site);
    browse(async move |page| {
        page.open(&dashboard.address).await;
        page.until("document.activeElement.id === 'token'").await;
        page.type_in("token-that-is-none-of-those").await;
        page.press(Key::Enter).await;
        page.has("That is not the token").await;
        page.until("getSelection().toString() || document.activeElement.id === 'token'").await;
        page.type_in(TOKEN).await;
        page.press(Key::Enter).await;
        page.has("1 of 1 volume is not safe.").await;
        page.has("it has no good backup").await;

        page.tab_to("vol1").await;
        page.press(Key::Enter).await;
        page.has("Snapshots and backups").await;
        page.evaluate("globalThis.stays = true").await;
        page.tab_to("Back up now").await;
        page.press(Key::Enter).await;
        page.until("location.hash.startsWith('#/runs/')").await;
        page.until("document.querySelector('.run-head .badge.good')?.innerText.trim() === 'done'")
            .await;
        page.until("document.querySelector('#announcer').textContent === 'The run ended: done.'")
            .await;
        page.has("Result").await;
        page.until("document.querySelectorAll('.log li .text').length > 1").await;
        assert_eq!(dashboard.site.backups("vol1").len(), 1);

        page.tab_to("Overview").await;
        page.press(Key::Enter).await;
        page.has("The volume has a good backup that is new enough.").await;
        assert_eq!(
            page.evaluate("globalThis.stays").await,
            true,
            "all of it on one page that was never loaded anew"
        );
    });
}

#[test]
fn a_restore_goes_step_by_step_and_ends_with_the_docker_command() {
    let site = site_with_volume();
    site.run("backup --volume vol1 --create-snapshot").ok();
    fs::write(site.volume("vol1").join("file"), "changed since").unwrap();
    site.run("backup --volume vol1 --create-snapshot").ok();
    let dashboard = Dashboard::of(site);
    browse(async move |page| {
        dashboard.sign_in(&page, TOKEN, "#/restore").await;
        page.click("vol1").await;
        page.has("Which backup?").await;
        page.until("document.querySelectorAll('[name=backup]').length === 2").await;
        page.has("7 B · ").await;
        page.evaluate("document.querySelectorAll('[name=backup]')[1].click()").await;
        page.until("document.querySelector('#new-name').value === 'vol1-restored'").await;
        page.fill("#new-name", "vol1").await;
        page.has("A volume of this name is there already").await;
        page.fill("#new-name", "found-again").await;
        page.click("See what will happen").await;
        page.has("into the new volume \"found-again\"").await;
        assert!(!dashboard.site.volume("found-again").exists(), "it was only looked at");
        page.click("Restore into \"found-again\"").await;
        page.until("document.querySelector('.step .step h2')?.textContent === 'The volume found-again is there'").await;
        page.has("docker run --rm -it -v found-again:/data --volume-driver=convoy debian ls /data")
            .await;
        let restored =
            fs::read_to_string(dashboard.site.volume("found-again").join("file")).unwrap();
        assert_eq!(restored, "content", "the older of the two backups was chosen");
    });
}

#[test]
fn a_failing_script_of_ones_own_is_shown_with_its_line_marked() {
    let dashboard = Dashboard::new();
    browse(async move |page| {
        dashboard.sign_in(&page, TOKEN, "#/scripts/fails").await;
        page.has("Looks for what is not there.").await;
        page.click("Run").await;
        // It can't even be tried dry: that is said, and one may run it all the same.
        page.until("document.querySelector('dialog .problem .caret')").await;
        page.click_in("dialog", "Run fails").await;
        page.until("location.hash.startsWith('#/runs/')").await;
        page.until("document.querySelector('.run-head .badge.bad')?.innerText.trim() === 'failed'")
            .await;
        page.has("out of bounds").await;
        let line = "document.querySelector('#main figure.place').innerText";
        let shown = page.evaluate(line).await;
        let shown = shown.as_str().unwrap();
        assert!(
            shown.contains("fails.rhai:4:") && shown.contains("convoy::volumes()[99].Name"),
            "{shown}"
        );
        assert_eq!(page.evaluate("document.querySelector('#main .caret').textContent").await, "9");
    });
}

#[test]
fn a_long_run_shows_its_log_as_it_grows_and_is_cancelled_after_one_question() {
    let dashboard = Dashboard::new();
    browse(async move |page| {
        dashboard.sign_in(&page, TOKEN, "#/runs").await;
        page.has("create").await;
        let start = "fetch('/api/waits', { method: 'POST', headers: { Prefer: 'respond-async' } })";
        page.evaluate(&format!("void {start}")).await;
        page.click("waits").await;
        page.has("it waits now").await;
        page.until("document.querySelector('.run-head .badge')?.innerText.trim() === 'running'")
            .await;
        page.click("Cancel …").await;
        page.click_in("dialog", "Let it go on").await;
        page.until("!document.querySelector('dialog')").await;
        page.click("Cancel …").await;
        page.click_in("dialog", "Cancel the run").await;
        page.until("document.querySelector('.run-head .badge').innerText.trim() === 'cancelled'")
            .await;
        let runs = dashboard.site.run("runs list --json").json();
        assert_eq!(runs[0]["status"], "cancelled", "{runs}");
    });
}

#[test]
fn an_entry_of_the_crontab_is_paused_resumed_and_run_now() {
    let dashboard = Dashboard::new();
    browse(async move |page| {
        dashboard.sign_in(&page, TOKEN, "#/schedule").await;
        page.has("backup --create-snapshot").await;
        page.click("Pause").await;
        page.has("Paused: not started by itself").await;
        page.click("Resume").await;
        page.has_no("Paused: not started by itself").await;
        page.click("Run now").await;
        page.until("location.hash.startsWith('#/runs/')").await;
        page.until("document.querySelector('.run-head .badge.good')?.innerText.trim() === 'done'")
            .await;
        page.has("HTTP").await;
        page.show("#/schedule").await;
        page.until("document.querySelector('.entry-times .badge.good')").await;
        assert_eq!(dashboard.site.backups("vol1").len(), 1);
    });
}

#[test]
fn an_entry_is_asked_for_with_its_own_settings_and_saying_no_ends_the_look() {
    let site = site_with_volume();
    let own = "fn main(args) { if run::dry_run() && config::destination().ends_with(\"/slow\") { sleep(3600); } \
        convoy::delete_volume(\"vol1\") }";
    fs::write(site.path("scripts/backup.rhai"), own).unwrap();
    fs::write(site.path("scripts/tells.rhai"), "fn main(args) { throw config::destination() }")
        .unwrap();
    let (other, slow) =
        (site.path("other").display().to_string(), site.path("slow").display().to_string());
    let crontab = format!(
        "BKUP_BACKUP_URL=vfs://{other}\n0 0 1 1 *  tells\nBKUP_BACKUP_URL=vfs://{slow}\n0 0 1 1 *  backup\n"
    );
    fs::write(site.path("crontab"), &crontab).unwrap();
    let dashboard = Dashboard::of(site);
    let listed = |site: &crate::support::site::Site| site.run("runs list --json").json();
    browse(async move |page| {
        dashboard.sign_in(&page, TOKEN, "#/schedule").await;
        let run_now = |script: &str| {
            let button = format!(
                "document.querySelector('button[aria-label^=\"Run now\"][aria-label*=\"{script}\"]')"
            );
            format!("{button}.click()")
        };
        // It is called like one that asks nothing, and is the user's own.
        page.has("backup").await;
        page.evaluate(&run_now("backup")).await;
        page.until("document.querySelector('dialog')?.innerText.includes('Looking at what would be deleted')").await;
        until("the look did not begin", &dashboard.serve, || {
            listed(&dashboard.site)[0]["status"] == "running"
        });
        page.click_in("dialog", "No, keep everything").await;
        until("the look goes on", &dashboard.serve, || {
            listed(&dashboard.site)[0]["status"] == "cancelled"
        });
        let run = listed(&dashboard.site)[0].clone();
        assert_eq!(
            (&run["script"].as_str(), &run["dry_run"].as_bool()),
            (&Some("backup"), &Some(true)),
            "{run}"
        );
        assert_eq!(
            listed(&dashboard.site).as_array().unwrap().len(),
            2,
            "one volume was made, one look was taken"
        );

        page.evaluate(&run_now("tells")).await;
        page.until(&format!(
            "document.querySelector('dialog .problem')?.innerText.includes('{other}')"
        ))
        .await;
        page.click_in("dialog", "Run tells").await;
        page.until("location.hash.startsWith('#/runs/')").await;
        page.until("document.querySelector('.run-head .badge.bad')").await;
        page.has(&other).await;
        // Again by the line, as long as it is there.
        let here = page.evaluate("location.hash").await;
        page.click("Run again").await;
        page.until(&format!(
            "document.querySelector('dialog .problem')?.innerText.includes('{other}')"
        ))
        .await;
        page.click_in("dialog", "No, keep everything").await;
        fs::write(dashboard.site.path("crontab"), "0 0 1 1 *  volumes\n").unwrap();
        dashboard.serve.signal("HUP");
        until("the crontab was not read", &dashboard.serve, || {
            dashboard.serve.log().contains("as it is now: 1 entry")
        });
        assert_eq!(page.evaluate("location.hash").await, here);
        page.click("Run again").await;
        page.until(
            "document.querySelector('dialog')?.innerText.includes('line is gone, or was changed')",
        )
        .await;
        page.until("document.querySelector('dialog .problem')?.innerText.includes('/backups')")
            .await;
    });
}

#[test]
fn a_server_that_goes_away_is_said_and_the_page_recovers_when_it_is_back() {
    let mut dashboard = Dashboard::new();
    browse(async move |page| {
        dashboard.sign_in(&page, TOKEN, "").await;
        page.has("vol1").await;
        dashboard.serve.kill();
        page.until("!document.querySelector('#banner').hidden").await;
        page.has("The server can't be reached since").await;
        page.has("vol1").await;
        dashboard.site.create("vol2", &[]);
        let dashboard = dashboard.comes_back();
        page.until("document.querySelector('#banner').hidden").await;
        page.has("The server is back.").await;
        page.has("vol2").await;
        // It is followed as before.
        dashboard.site.run("backup --volume vol1 --create-snapshot").ok();
        page.show("#/runs").await;
        page.until("document.querySelector('.runs .badge.good')").await;
    });
}

#[test]
fn with_the_read_only_token_what_changes_something_is_disabled() {
    let dashboard = Dashboard::new();
    browse(async move |page| {
        dashboard.sign_in(&page, READ_TOKEN, "#/volumes/vol1").await;
        page.has("read only").await;
        let disabled = "[...document.querySelectorAll('#main button[aria-disabled=true]')].map((one) => one.innerText)";
        let buttons = page.evaluate(disabled).await;
        assert_eq!(buttons, serde_json::json!(["Back up now", "Snapshot now", "Remove …"]));
        page.click("Back up now").await;
        page.has("You are signed in with the read-only token").await;
        // What the page itself read for this is on record, and hides nothing.
        page.show("#/runs").await;
        let scripts =
            "[...document.querySelectorAll('.runs .run-command b')].map((one) => one.innerText)";
        assert_eq!(page.evaluate(scripts).await, serde_json::json!(["create"]));
        page.evaluate("(() => { const show = document.querySelector('#by-show'); show.value = 'all'; show.dispatchEvent(new Event('change')); })()").await;
        page.until(&format!("{scripts}.includes('backups')")).await;
        page.show("#/schedule").await;
        assert_eq!(page.evaluate(disabled).await, serde_json::json!(["Run now", "Pause"]));
        page.show("#/scripts/prune").await;
        page.has("only the dry run is allowed").await;
        // The scripts that only read are for everybody.
        page.show("#/scripts/volumes").await;
        page.click("Run").await;
        page.until("document.querySelector('.answer table')?.innerText.includes('vol1')").await;
        page.show("#/runs?script=volumes").await;
        page.evaluate("document.querySelector('.runs tbody a').click()").await;
        page.click("Run again").await;
        page.has("Started: volumes").await;
        assert!(dashboard.site.snapshots("vol1").is_empty());
    });
}

#[test]
fn dashboards_on_one_host_with_tls_and_without_are_signed_in_to_and_out_of_apart() {
    let file = |name: &str| format!("{}/tests/data/tls/{name}", env!("CARGO_MANIFEST_DIR"));
    let secure = site()
        .with("BKUP_API_TLS_CERTIFICATE", file("first-certificate.pem"))
        .with("BKUP_API_TLS_KEY", file("first-key.pem"));
    let all = [Dashboard::of(site()), Dashboard::of(secure), Dashboard::of(site())];
    assert!(all[1].address.starts_with("https://"), "{}", all[1].address);
    browse(async move |page| {
        const IS_IN: &str = "document.querySelector('#sign-out').hidden === false";
        for dashboard in &all {
            dashboard.sign_in(&page, TOKEN, "").await;
            page.until(IS_IN).await;
        }
        for (index, out) in all.iter().enumerate() {
            page.open(&out.address).await;
            page.until(IS_IN).await;
            page.click("Sign out").await;
            page.until("document.querySelector('#token')").await;
            page.open(&out.address).await;
            page.until("document.querySelector('#token')").await;
            for other in &all[index + 1..] {
                page.open(&other.address).await;
                page.until(IS_IN).await;
            }
        }
    });
}

#[test]
fn every_page_fits_a_phone_and_a_desk() {
    let site = site_with_volume();
    site.run("backup --volume vol1 --create-snapshot").ok();
    site.run("fails").ends(1);
    let failed = site.run("runs list --json").json()[0]["id"].as_str().unwrap().to_owned();
    let dashboard = Dashboard::of(site);
    browse(async move |page| {
        dashboard.sign_in(&page, TOKEN, "").await;
        let run = format!("#/runs/{failed}");
        let all = [
            "#/",
            "#/volumes/vol1",
            "#/volumes/none",
            "#/restore",
            "#/restore/vol1",
            "#/runs",
            &run,
            "#/runs/none",
            "#/schedule",
            "#/scripts",
            "#/scripts/prune",
            "#/scripts/fails",
            "#/nowhere",
        ];
        for (width, height) in [(1400, 900), (390, 844)] {
            page.resize(width, height).await;
            for place in all {
                page.show(place).await;
                let hidden =
                    "document.documentElement.scrollWidth - document.documentElement.clientWidth";
                assert_eq!(page.evaluate(hidden).await, 0, "{place} is wider than {width} pixels");
            }
        }
    });
}
