#![no_main]
hostgauge_fuzz::target!(hostgauge, "top_page");
