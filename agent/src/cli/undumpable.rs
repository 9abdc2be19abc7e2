//! Keys for AWS stay in this process: no core dump holds them, and no neighbour reads them.

/// Has the kernel write no core dump of this process, and show its memory, environment, open files and root to nobody
/// without CAP_SYS_PTRACE.
///
/// Every process of the same user could read them otherwise: in a pod that shares its process namespace, and where a
/// sidecar has to be its neighbour's user, that is the program which is measured. A limit on the size of core dumps
/// would be no help where the kernel pipes them to a program, which has none. What this process starts is as any other.
///
/// Source: prctl(2), PR_SET_DUMPABLE; ptrace(2), PTRACE_MODE_READ; core(5).
pub(super) fn make_undumpable() {
    #[cfg(target_os = "linux")]
    if let Err(error) = nix::sys::prctl::set_dumpable(false) {
        log::warn!("a core dump would hold the keys for AWS: prctl(PR_SET_DUMPABLE) fails: {error}");
    }
}
