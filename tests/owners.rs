//! Several commands at once on one folder of the built-in daemon: whoever comes first owns it, the
//! others speak to that one, and each that ends hands it over to the next.

use crate::support::site::Site;

#[test]
fn commands_that_come_and_go_at_the_same_time_are_all_answered() {
    let site = Site::builtin();
    site.create("vol1", &[]);
    std::thread::scope(|scope| {
        for shell in 0..6 {
            let site = &site;
            scope.spawn(move || {
                for turn in 0..6 {
                    site.run(&format!("create --volume vol-{shell}-{turn} --size 1M")).ok();
                    site.run("volumes --json").json();
                }
            });
        }
    });
    assert_eq!(site.run("volumes --json").json().as_array().unwrap().len(), 37);
}
