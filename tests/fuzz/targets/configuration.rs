#![no_main]
hostgauge_fuzz::target!(hostgauge, "configuration");
