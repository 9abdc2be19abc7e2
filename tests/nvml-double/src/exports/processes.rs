//! What runs on a device.

use std::ffi::c_uint;

use crate::abi::{
    ARGUMENT_VERSION_MISMATCH, Answer, Handle, INSUFFICIENT_SIZE, NO_INSTANCE, NOT_AVAILABLE, NOT_FOUND, NOT_SUPPORTED,
    ProcessInfo, ProcessUtilizationInfo, ProcessUtilizationSample, ProcessesUtilizationInfo, Return, struct_version,
};
use crate::driver::{DeviceCall, on_device};
use crate::pointer::Out;
use crate::scenario::{Process, ProcessKind};

exports! {
    fn nvmlDeviceGetComputeRunningProcesses_v3(device: Handle, count: Out<c_uint>, processes: Out<ProcessInfo>)
        = on_device(device) |call| running(&call, ProcessKind::Compute, count, processes);
    fn nvmlDeviceGetGraphicsRunningProcesses_v3(device: Handle, count: Out<c_uint>, processes: Out<ProcessInfo>)
        = on_device(device) |call| running(&call, ProcessKind::Graphics, count, processes);
    fn nvmlDeviceGetMPSComputeRunningProcesses_v3(device: Handle, count: Out<c_uint>, processes: Out<ProcessInfo>)
        = on_device(device) |call| running(&call, ProcessKind::Mps, count, processes);
    fn nvmlDeviceGetProcessUtilization(
        device: Handle, samples: Out<ProcessUtilizationSample>, count: Out<c_uint>, last_seen: u64
    ) = on_device(device) |call| {
        call.without_mig()?;
        let room = count.get()? as usize;
        let (timestamp, busy) = sampled(&call, last_seen, call.gpu.support.process_utilization)?;
        count.set(busy.len() as c_uint)?;
        if samples.is_null() || room < busy.len() {
            return Err(INSUFFICIENT_SIZE);
        }
        samples.fill(busy.iter().map(|process| ProcessUtilizationSample {
            pid: process.pid,
            timestamp,
            sm: process.sm,
            memory: process.memory_busy,
            encoder: process.encoder,
            decoder: process.decoder,
        }))
    };
    fn nvmlDeviceGetProcessesUtilizationInfo(device: Handle, info: Out<ProcessesUtilizationInfo>)
        = on_device(device) |call| {
            let asked = info.get()?;
            if asked.version != struct_version::<ProcessesUtilizationInfo>(1) {
                return Err(ARGUMENT_VERSION_MISMATCH);
            }
            call.without_mig()?;
            if !call.gpu.support.processes_utilization_info {
                return Err(NOT_SUPPORTED);
            }
            let (timestamp, busy) = sampled(&call, asked.last_seen, true)?;
            info.set(ProcessesUtilizationInfo { count: busy.len() as c_uint, ..asked })?;
            if asked.processes.is_null() || (asked.count as usize) < busy.len() {
                return Err(INSUFFICIENT_SIZE);
            }
            asked.processes.fill(busy.iter().map(|process| ProcessUtilizationInfo {
                timestamp,
                pid: process.pid,
                sm: process.sm,
                memory: process.memory_busy,
                encoder: process.encoder,
                decoder: process.decoder,
                jpeg: 0,
                optical_flow: 0,
            }))
        };
}

/// The processes of one list: of the instance, else of the whole GPU.
fn running(call: &DeviceCall<'_>, kind: ProcessKind, count: Out<c_uint>, infos: Out<ProcessInfo>) -> Answer {
    let here = |process: &&Process| {
        let instance = call.instance.is_none_or(|it| (process.gi, process.ci.unwrap_or(0)) == (Some(it.gi), it.ci));
        process.kind == kind && instance
    };
    let processes: Vec<_> = call.gpu.processes.iter().filter(here).collect();
    let room = count.get()? as usize;
    count.set(processes.len() as c_uint)?;
    if room < processes.len() {
        return Err(INSUFFICIENT_SIZE);
    }
    infos.fill(processes.iter().map(|process| ProcessInfo {
        pid: process.pid,
        used_gpu_memory: process.memory.unwrap_or(NOT_AVAILABLE),
        gpu_instance: process.gi.unwrap_or(NO_INSTANCE),
        compute_instance: process.ci.unwrap_or(NO_INSTANCE),
    }))
}

/// The processes that did something in the newest sample, if that is news, and its time.
fn sampled<'a>(call: &DeviceCall<'a>, last_seen: u64, supported: bool) -> Result<(u64, Vec<&'a Process>), Return> {
    let period = call.gpu.ring.period_us;
    let timestamp = (call.now / period * period).saturating_add_signed(call.gpu.ring.offset_us);
    let busy: Vec<_> = call.gpu.processes.iter().filter(|process| process.sm > 0).collect();
    if !supported || timestamp <= last_seen || busy.is_empty() {
        return Err(NOT_FOUND);
    }
    Ok((timestamp, busy))
}
