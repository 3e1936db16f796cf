"""What every stage needs and no stage owns: errors, files, the life's folders, configs, logs, the device."""
