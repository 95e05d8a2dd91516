//! Tests of the daemon as a whole: what goes in comes out, and what goes wrong leaves nothing that
//! looks right.

mod convoy_form;
mod damage;
mod destinations;
mod files;
mod recovery;
mod root;
mod scene;
mod snapshots;
mod volumes;
