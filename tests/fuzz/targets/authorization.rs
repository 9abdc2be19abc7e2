#![no_main]
hostgauge_fuzz::target!(hostgauge_exporters, "authorization");
