mod spdy;
