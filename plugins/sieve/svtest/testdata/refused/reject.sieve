require ["reject"];
reject;
reject "a" "b";
