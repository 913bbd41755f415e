"""Settings of Flower: celery -A workers.app flower --conf=workers/flowerconfig.py

The login comes from the environment (FLOWER_BASIC_AUTH=user:password), never from this file or an argument list.
"""

#: Flower's default listens on all interfaces.
address = "127.0.0.1"
#: 2.2 hides arguments and results by default; ours are a batch's size and what has become of it so far. The id is long and
#: comes last; it leads to the task's page, where the job's report is named.
tasks_columns = "name,state,result,args,runtime,worker,uuid"
#: 4.8 KB each; the default of 100,000 took 483 MB and blocked for 7.7 s at every save.
max_tasks = 20_000
#: Workers that were taken down leave the list after this many seconds.
purge_offline_workers = 300
natural_time = False
