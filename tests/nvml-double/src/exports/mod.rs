//! The functions of NVML by group. Each is one line of table and one of work: who is asked, and what is answered.
#![allow(unsafe_code, reason = "a C library exports its functions by their bare names")]
#![allow(non_snake_case, reason = "the names are NVML's")]

/// Defines exported functions and NAMES, the list of them. `= on_device(handle) |call| work` sends a call through
/// [`crate::driver::on_device`], and so on.
macro_rules! exports {
    ($(
        fn $name:ident($($argument:ident: $kind:ty),*)
            = $through:ident($($handle:ident)?) $(|$call:pat_param| $work:expr)?;
    )*) => {
        pub(super) const NAMES: &[&str] = &[$(stringify!($name)),*];
        $(
            // SAFETY: the names are NVML's own, and no process loads this library beside the one that it stands for.
            #[unsafe(no_mangle)]
            extern "C" fn $name($($argument: $kind),*) -> crate::abi::Return {
                crate::driver::code($through(stringify!($name) $(, $handle)? $(, |$call| $work)?))
            }
        )*
    };
}

mod events;
mod fields;
mod gpm;
mod health;
mod identity;
mod mig;
mod processes;
mod system;
mod utilization;

/// The groups' functions.
pub(crate) const NAMES: [&[&str]; 9] = [
    system::NAMES,
    identity::NAMES,
    utilization::NAMES,
    processes::NAMES,
    fields::NAMES,
    health::NAMES,
    mig::NAMES,
    events::NAMES,
    gpm::NAMES,
];
