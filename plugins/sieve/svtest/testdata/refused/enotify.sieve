require ["enotify"];
notify "no URI";
notify :importance "4" "mailto:a@example.com";
notify;
