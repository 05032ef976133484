require ["ereject"];
ereject;
ereject ["a", "b"];
