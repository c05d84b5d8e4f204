"""The translator of RGB to infrared: its pairs, its losses, and how near it comes to the sensor."""
