//! The devices that this binary was built with.

use elimnet::report::Environment;
use elimnet_cpu::CpuDevice;
use elimnet_engine::{Device, Precision};

use crate::args::{DeviceArgs, PrecisionName};
use crate::failure::hinted;

/// The device that was asked for.
pub(crate) fn open(args: &DeviceArgs) -> anyhow::Result<CpuDevice> {
    let device = without_precision(args)?;
    let fastest = device.fastest_precision();
    Ok(device.with_precision(chosen(args, fastest, fastest)))
}

/// The same, `precision` where none was asked for.
pub(crate) fn open_for(args: &DeviceArgs, precision: Precision) -> anyhow::Result<CpuDevice> {
    let device = without_precision(args)?;
    let fastest = device.fastest_precision();
    Ok(device.with_precision(chosen(args, precision, fastest)))
}

fn chosen(args: &DeviceArgs, default: Precision, fastest: Precision) -> Precision {
    match args.precision {
        None => default,
        Some(PrecisionName::Auto) => fastest,
        Some(PrecisionName::F32) => Precision::F32,
        Some(PrecisionName::Bf16) => Precision::Bf16,
    }
}

/// What a run keeps about this machine and how it was called.
pub(crate) fn environment(device: &CpuDevice) -> Environment {
    Environment::here("cpu", device.isa().name(), device.threads(), device.precision().name())
}

fn without_precision(args: &DeviceArgs) -> anyhow::Result<CpuDevice> {
    if args.device != "cpu" {
        let message = format!("there is no device `{}`", args.device);
        return Err(hinted(message, "the devices of this build are: cpu"));
    }
    CpuDevice::try_new(usize::from(args.threads))
        .map_err(|error| hinted(error.to_string(), "unset it, or set it to one of these"))
}
