#![no_main]
hostgauge_fuzz::target!(nvidia_ml_double, "nvml_scenario");
