//! Tests of the whole daemon: all data comes back, and a failure never leaves something that looks
//! valid.

mod back_up;
mod collect;
mod convoy_form;
mod damage;
mod destinations;
mod docker;
mod dumps;
mod files;
mod forgery;
mod identity;
mod plugin;
mod recovery;
mod root;
mod rot;
mod scene;
mod snapshots;
mod together;
mod volumes;
