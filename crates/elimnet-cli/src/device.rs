//! The devices that this binary was built with.

use elimnet::report::Environment;
use elimnet_cpu::CpuDevice;

use crate::args::DeviceArgs;
use crate::failure::hinted;

/// The device that was asked for.
pub(crate) fn open(args: &DeviceArgs) -> anyhow::Result<CpuDevice> {
    match args.device.as_str() {
        "cpu" => Ok(CpuDevice::new(usize::from(args.threads))),
        other => Err(hinted(format!("there is no device `{other}`"), "the devices of this build are: cpu")),
    }
}

/// What a run keeps about this machine and how it was called.
pub(crate) fn environment(device: &CpuDevice) -> Environment {
    Environment::here("cpu", device.isa().name(), device.threads(), "f32")
}
