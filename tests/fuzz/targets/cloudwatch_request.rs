#![no_main]
hostgauge_fuzz::target!(hostgauge_cloudwatch_double, "cloudwatch_request");
