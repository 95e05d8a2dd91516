//! `serve`: checks the crontab, then follows it.

use super::{Context, crontab, in_runtime};
use crate::{app, error::Result, schedule::Source};

pub(super) fn serve(context: Context) -> Result<u8> {
    let surroundings = crontab::surroundings(&context);
    let source = Source::find(&context.config);
    let checked = source.check(&surroundings);
    crontab::tell(&context, &checked);
    let Ok((crontab, _)) = checked.accept() else {
        eprintln!("nothing was started: mend the crontab, and look at it with \"convoy-backups crontab check\"");
        return Ok(2);
    };
    let serving =
        app::Serving { config: context.config.clone(), surroundings, crontab, teller: context.teller.clone() };
    in_runtime(|cancellation| async move {
        app::serve(serving, cancellation).await?;
        Ok(0)
    })
}
